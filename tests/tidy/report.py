"""How a test says that a check found nothing, or else everything that it found, one finding a line."""


def none_of(findings: list[str]) -> None:
    """Raises AssertionError with all findings."""
    assert not findings, "\n".join(("", *findings))
