"""What the documents promise: relative links lead to files, and each `make` target that a README names exists."""

import re
from pathlib import Path

from tests.tidy.checks import tree

FENCE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\[[^\]\n]*\]\(\s*<?([^)\s>]+)>?[^)\n]*\)|^ {0,3}\[[^\]\n]+\]:\s*(\S+)", re.MULTILINE)
ELSEWHERE = re.compile(r"^([a-z][a-z0-9+.-]*:|#|//)", re.IGNORECASE)
RULE = re.compile(r"^([A-Za-z][\w. -]*):(?!=)", re.MULTILINE)
MAKE = re.compile(r"(?<![\w-])make ([a-z][\w-]*)")


def _line(whole: str, position: int) -> int:
    return whole.count("\n", 0, position) + 1


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def broken_links(root: Path) -> list[str]:
    found = []
    for path in tree.files(root):
        if path.suffix != ".md":
            continue
        prose = SPAN.sub(_blank, FENCE.sub(_blank, tree.text(path)))
        for match in LINK.finditer(prose):
            target = match[1] or match[2]
            if not ELSEWHERE.match(target) and not (path.parent / target.partition("#")[0]).exists():
                found.append(tree.finding(root, path, _line(prose, match.start()), f"{target} does not exist"))
    return found


def unknown_make_targets(root: Path) -> list[str]:
    makefile = root / "Makefile"
    targets = set(" ".join(RULE.findall(tree.text(makefile))).split()) if makefile.is_file() else set()
    found = []
    for path in tree.files(root):
        if path.name != "README.md":
            continue
        whole = tree.text(path)
        for code in (*FENCE.finditer(whole), *SPAN.finditer(FENCE.sub(_blank, whole))):
            for match in MAKE.finditer(code[0]):
                if match[1] not in targets:
                    line = _line(whole, code.start() + match.start())
                    found.append(tree.finding(root, path, line, f"there is no `make {match[1]}`"))
    return found
