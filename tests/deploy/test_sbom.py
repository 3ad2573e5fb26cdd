"""The bill of materials: all that the image is made of, by name, version and hash, as CycloneDX."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.deploy.files import ROOT


def test_it_names_every_package_of_the_lock_with_its_hashes(tmp_path: Path) -> None:
    recipe = (ROOT / "Makefile").read_text()
    found = re.search(r"cyclonedx-py (requirements .*?) -o sbom.cdx.json", recipe.replace("\\\n", " "), re.S)
    assert found
    written = tmp_path / "sbom.json"
    command = [str(Path(sys.executable).parent / "cyclonedx-py"), *found[1].split(), "-o", str(written)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60, capture_output=True)
    bill = json.loads(written.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "solar-gateway"
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / "requirements-deploy.lock").read_text(), re.M))
    named = {component["name"]: component for component in bill["components"]}
    assert {name: component["version"] for name, component in named.items()} == locked
    assert all(component["purl"].startswith("pkg:pypi/") for component in named.values())
    hashed = [r for component in named.values() for r in component["externalReferences"] if r.get("hashes")]
    assert len(hashed) >= len(locked)
