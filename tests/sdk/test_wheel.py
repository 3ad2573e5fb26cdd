"""What users install: the wheel, built here, alone in a new environment, against the running gateway; and its types in a user's project."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.running import Gateway

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, decimal, solar_sdk
reply = solar_sdk.chat("안녕?")
assert reply.text and isinstance(reply.cost, decimal.Decimal) and reply.currency == "USD" and reply.call_id
pieces = solar_sdk.chat("안녕?", stream=True)
assert "".join(pieces) and pieces.reply.cost is not None
client = solar_sdk.Solar()
assert client.chat.completions.create(model="solar-mini4", messages=[{"role": "user", "content": "?"}]).choices[0].message.content
assert client.responses.create(input="안녕?").text
assert len(client.embed(["가", "나"])) == 2
assert client.parse_document(b"%PDF-1.7 /Type /Page", filename="a.pdf").pages == 1
assert "solar-pro4" in [model.id for model in client.models()]
assert client.usage(group_by="model").total.calls == 6
assert client.account().month_to_date.cost > 0
assert str(asyncio.run(solar_sdk.achat("안녕?")))
with solar_sdk.meter() as metered:
    solar_sdk.chat("하나")
assert (metered.calls, metered.unmeasured_calls) == (1, 0)
print("all of it")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*build, str(ROOT / "sdk")], check=True, timeout=120)
    [built] = folder.glob("*.whl")
    return built


def locked(*names: str) -> str:
    """The lines of our lock that these packages need, so that a newer one never surprises this test."""
    blocks = (ROOT / "requirements.lock").read_text().replace("\\\n", " ").splitlines()
    return "\n".join(line for line in blocks if line.split("==")[0] in names)


def test_the_wheel_alone_in_a_new_environment_talks_to_the_gateway(
    wheel: Path, gateway: Gateway, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        locked("httpx", "httpcore", "h11", "anyio", "idna", "certifi", "tenacity", "typing-extensions")
    )
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:"]
    subprocess.run([*install, "--require-hashes", "-r", str(requirements)], check=True, timeout=120)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True, timeout=120)
    subprocess.run([python, "-m", "pip", "check"], check=True, timeout=60)
    secret = gateway.new_key()
    environment = {"SOLAR_API_KEY": secret, "SOLAR_BASE_URL": gateway.url, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [python, "-c", PROGRAM], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "all of it\n"
    command = [str(tmp_path / "env" / "bin" / "solar"), "account"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "month to date" in told.stdout
    assert secret not in done.stderr + told.stdout + told.stderr


USERS_CODE = """
from dataclasses import dataclass
from decimal import Decimal
import solar_sdk
from solar_sdk import AsyncSolar, Reply, Solar

@dataclass
class Book:
    title: str

def use(client: Solar) -> Decimal | None:
    reply: Reply = client.chat("?", model="solar-pro4", max_tokens=3)
    for piece in client.chat("?", stream=True):
        piece.upper()
    book: Book = client.parse("?", Book).value
    text: str | None = client.chat.completions.create(messages=[{"role": "user", "content": book.title}]).choices[0].message.content
    for chunk in client.chat.completions.create(messages=[], stream=True):
        text = chunk.choices[0].delta.content
    with solar_sdk.meter(budget=Decimal("1")) as metered:
        solar_sdk.chat(text)
    return reply.cost or metered.cost

async def use_async(client: AsyncSolar) -> str:
    async for piece in await client.chat("?", stream=True):
        piece.upper()
    return (await client.chat("?")).text + (await client.responses.create(input="?")).text
"""


def test_a_users_project_passes_strict_mypy_and_a_wrong_use_does_not(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", "--target"]
    subprocess.run([*install, str(target), str(wheel)], check=True, timeout=60)
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(USERS_CODE)
    bad.write_text('import solar_sdk\nsolar_sdk.chat("?", max_tokenz=3)\nsolar_sdk.chat("?").cost + 1.5\n')
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}/cache"]
    environment = {"MYPYPATH": str(target), "PATH": "/usr/bin:/bin"}
    checked = subprocess.run(
        [*mypy, str(good)], env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert checked.returncode == 0, checked.stdout
    checked = subprocess.run(
        [*mypy, str(bad)], env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert "max_tokenz" in checked.stdout
    assert checked.stdout.count("error:") >= 2


def test_a_users_project_passes_strict_pyright_and_a_wrong_use_does_not(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", "--target"]
    subprocess.run([*install, str(target), str(wheel)], check=True, timeout=60)
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(target)], "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    (tmp_path / "good.py").write_text(USERS_CODE)
    (tmp_path / "bad.py").write_text('import solar_sdk\nsolar_sdk.chat("?", max_tokenz=3)\n')
    program = [str(Path(sys.executable).parent / "basedpyright"), "--pythonpath", sys.executable]
    good, bad = (
        subprocess.run([*program, name], cwd=tmp_path, capture_output=True, text=True, timeout=170, check=False)
        for name in ("good.py", "bad.py")
    )
    assert good.returncode == 0, good.stdout
    assert bad.returncode == 1
    assert "chat" in bad.stdout
