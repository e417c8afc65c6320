"""The architecture is a contract: what may import what is checked by import-linter; here is the rest."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import einthoven

SOURCE = Path(einthoven.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
PINNED = [
    "__version__",
    "analyse",
    "analyse_source",
    "Annotations",
    "Beats",
    "decode_state",
    "Ecg",
    "EinthovenError",
    "encode_state",
    "Episode",
    "Findings",
    "OnlinePath",
    "open_recording",
    "PatientState",
    "read_annotations",
    "Recording",
    "recording_from_mv",
    "RecordingInfo",
    "SCENES",
    "Segment",
    "VirtualPatient",
    "write_annotations",
    "write_edf",
    "write_recording",
]


def test_the_public_names_are_these() -> None:
    """Adding or removing a name is a decision, and shows in this file."""
    assert sorted(einthoven.__all__, key=str.casefold) == PINNED
    for name in einthoven.__all__:
        assert getattr(einthoven, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        einthoven.nonsense  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = (
        "import sys, einthoven; print([m for m in ('numpy', 'numba', 'rich', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_import_contract_is_kept() -> None:
    command = str(Path(sys.executable).with_name("lint-imports"))
    done = subprocess.run(
        [command, "--no-cache"], capture_output=True, text=True, check=False, cwd=SOURCE.parents[1]
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_each_module_keeps_the_house_rules(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module says what it is for"
    assert path.stem not in {"utils", "helpers", "common", "base", "manager", "misc", "core"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "einthoven" or path == SOURCE / "__init__.py", (
                "nobody imports the package root"
            )
            assert not node.level, "imports are absolute"
            assert all(alias.name != "*" for alias in node.names)


def test_the_wheel_carries_the_model_and_the_types() -> None:
    assert (SOURCE / "py.typed").exists()
    assert (SOURCE / "signal" / "beat-classes.msgpack").exists()
