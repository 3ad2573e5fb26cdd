"""The documents keep their promises."""

from tests.tidy import rules
from tests.tidy.checks import links
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of


def test_every_relative_link_of_the_repository_leads_somewhere() -> None:
    none_of(links.broken_links(rules.ROOT))


def test_a_link_to_nothing_is_found(plant: Plant) -> None:
    plant("docs/here.md", "# Here\n")
    root = plant(
        "README.md", "[a](docs/here.md#here) [b](https://example.org/x) [c](#top)\n`[d](code.md)`\n\n[e](gone.md)\n"
    )
    plant("docs/more.md", "```\n[f](example.md)\n```\n[up](../README.md)\n\n[g]: lost.md\n")
    assert links.broken_links(root) == ["README.md:4: gone.md does not exist", "docs/more.md:6: lost.md does not exist"]


def test_every_make_target_that_a_readme_names_exists() -> None:
    none_of(links.unknown_make_targets(rules.ROOT))


def test_a_make_target_that_does_not_exist_is_found(plant: Plant) -> None:
    plant("Makefile", "VENV := x\ndemo: $(STAMP)  ## runs\n\trun\ntest check:\n\trun\n")
    root = plant(
        "README.md",
        "We make sure.\n\n```\nmake demo\nmake deploy\n```\n`make test`, `make check ARGS=-x`, `make lunch`\n",
    )
    assert links.unknown_make_targets(root) == [
        "README.md:5: there is no `make deploy`",
        "README.md:7: there is no `make lunch`",
    ]
