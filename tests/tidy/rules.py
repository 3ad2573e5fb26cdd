"""Every limit and every exception of the tidy checks, as data: a rule that hurts is changed here, in the open, with a reason.

Paths are relative to the root of the tree, with `/`; patterns are fnmatch patterns, in which `*` also crosses a `/`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

# ---- where the product is -------------------------------------------------------------------------------------------------
PRODUCT: Final = ("gateway", "billing", "sdk")
ALL_CODE: Final = (*PRODUCT, "tests", "deploy")

# ---- sizes ----------------------------------------------------------------------------------------------------------------
FILE_LINES_MAX: Final = 400
FILE_LINES_AIM: Final = 300
FUNCTION_LINES_MAX: Final = 70  # without the docstring
LONG_BY_NATURE: Final[Mapping[str, str]] = {
    "deploy/migrations/versions/*": "a migration lists every column of every table it makes; alembic writes it",
}
ROOM_FILES_MAX: Final = (
    12  # python files directly in one folder of the product, `__init__.py` and `__main__.py` not counted
)
ROOM_DEPTH_MAX: Final = 1  # folders between gateway/ or billing/ and a file: gateway/x/y.py
DEEPER_ROOMS: Final[Mapping[str, str]] = {
    "gateway/cli/finance": "the command line has a file for each command group; what finance does are seven of them",
    "gateway/cli/ledger": "the command line has a file for each command group, and this is one with a vocabulary of its own",
    "gateway/sandbox/solar": "the simulated Solar is a server of its own inside the sandbox, with a file for each endpoint family",
    "gateway/sandbox/solar/wire": "the wire formats of the simulated Solar, which is a server of its own inside the sandbox",
    "gateway/sandbox/solar/mind": "the models, token rule and drafts of the simulated Solar, a server of its own inside the sandbox",
}

# ---- names ----------------------------------------------------------------------------------------------------------------
EMPTY_NAMES: Final = frozenset({"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"})
TEST_NAME_WORDS_MIN: Final = 3  # after `test_`: a name is a sentence

# ---- money ----------------------------------------------------------------------------------------------------------------
MONEY_ROOMS: Final = ("billing", "deploy/migrations")
INEXACT_NAMES: Final = frozenset({"float", "Float", "FLOAT", "Double", "DOUBLE", "DOUBLE_PRECISION", "REAL"})

# ---- what is left over ----------------------------------------------------------------------------------------------------
LEFTOVER_WORDS: Final = ("TO" + "DO", "FIX" + "ME", "X" + "XX")  # spelled apart, so that this file does not hold them
SLEEPERS: Final = ("tests/waiting.py",)  # the one bounded poll loop

# ---- docstrings -----------------------------------------------------------------------------------------------------------
NO_DOCSTRING_NEEDED: Final = ("deploy/migrations/versions/*",)
OWNING_ROOMS: Final = ("gateway", "billing", "sdk/solar_sdk")  # each package in these says what it owns and never does

# ---- one library, one door ------------------------------------------------------------------------------------------------
DOORS: Final[Mapping[str, tuple[str, ...]]] = {
    "litestar": (
        "gateway/edge/*",
        "gateway/office/*",
        "gateway/doors/inference.py",
        "gateway/app.py",
        "gateway/sandbox/*",
        "sdk/examples/*",
    ),
    "httpx": (
        "gateway/upstream/*",
        "gateway/alerts/webhook.py",
        "gateway/sandbox/*",
        "gateway/demo/*",
        "gateway/cli*",
        "gateway/outlet/*",
        "sdk/*",
        "billing/stripe_client.py",
    ),
    "tenacity": (
        "gateway/upstream/*",
        "gateway/alerts/webhook.py",
        "gateway/sandbox/*",
        "gateway/cli*",
        "sdk/*",
        "billing/stripe_client.py",
    ),
    "redis": ("gateway/admission/*", "gateway/keys/*", "gateway/replay/*", "gateway/drain/*", "gateway/app.py"),
    "cryptography": ("gateway/replay/seal.py",),
    "stripe": ("billing/stripe_client.py",),
    "typst": ("billing/exports/pdf.py",),
    "openpyxl": ("billing/exports/hometax.py",),
    "prometheus_client": ("gateway/metrics.py", "gateway/edge/health.py"),
    **dict.fromkeys(
        ("sqlmodel", "sqlalchemy"),
        (
            "*/tables.py",
            "*/journal.py",
            "*/read.py",
            "*/rate_cards.py",
            "billing/fx.py",
            "billing/ledger/calls.py",
            "billing/ledger/rollups.py",
            "billing/ledger/sources.py",
            "billing/keeping/*",
            "billing/ledger/usage.py",
            "gateway/keys/lifecycle.py",
            "gateway/drain/rounds.py",  # tells a database that is away from a record that it refuses
            "*_store.py",
            "*/store.py",
            "*/database.py",
        ),
    ),
}
SDK_LIBRARIES: Final = frozenset({"httpx", "tenacity", "solar_sdk"})  # all that its own pyproject.toml declares
LATE_IMPORTS: Final[Mapping[str, str]] = {
    "billing/exports/hometax.py": "openpyxl takes half a second to load, at every start of every worker, and is used once a month",
    "gateway/traces.py": "OpenTelemetry is optional, and costs nothing where nobody asks for traces",
    "gateway/sandbox/*": "the local model is a wheel that is installed only when it is asked for",
}

# ---- no address and no machine in what we ship ----------------------------------------------------------------------------
LOCK_FORBIDS: Final = ("://", "index-url", "find-links")
# Homes of people's machines, spelled apart for the same reason as above.
HOME_FOLDERS: Final = ("/" + "root/", "/" + "home/", "/" + "Users/")
SHARED_FOLDERS: Final = ("/", "/tmp", "/var/tmp", "/home", "/opt", "/srv", "/app", "/src", "/usr/src", "/builds")  # noqa: S108 - compared, never opened
