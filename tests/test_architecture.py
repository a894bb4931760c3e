"""The plan of the house: who imports whom, how long files are, that public names explain themselves."""

import ast
import inspect
import re
import subprocess
from pathlib import Path

import pytest

import replicax as rx

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "replicax"
FILES = sorted(PACKAGE.rglob("*.py"))
#: a room imports from the floors below its own
FLOORS = {"numerics": 0, "vocabulary": 1, "theory": 2, "answers": 3, "top": 4}
MAX_LINES = 600
TEXT = {".py", ".md", ".toml", ".cff", ".ipynb", ".cfg", ".txt", ""}


def room_of(module: str) -> str:
    """The room of a module below replicax: its second name, or "" for the package itself."""
    return [*module.split("."), ""][1]


def imports_of(tree: ast.AST, module: str, is_package: bool) -> set[str]:
    """Every module below replicax that the source imports, wherever in the file."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            here = module.split(".")
            base = here[: len(here) - node.level + is_package] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found |= {source} if room_of(source) else {f"{source}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "replicax"}


def may_import(here: str, there: str) -> bool:
    """Floors downwards; the simulation sees numerics only; only the top sees simulation and package."""
    if here == there:
        return True
    if here == "simulation":
        return there == "numerics"
    if there in ("simulation", ""):
        return here == "top"
    return here in FLOORS and there in FLOORS and FLOORS[there] < FLOORS[here]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", [f for f in FILES if f.parent != PACKAGE], ids=module_name)
def test_imports_go_downwards(path):
    module = module_name(path)
    for name in imports_of(ast.parse(path.read_text(encoding="utf-8")), module, path.name == "__init__.py"):
        there = room_of(name) if (PACKAGE / room_of(name)).is_dir() else ""
        assert may_import(room_of(module), there), f"{module} imports {name}"


def test_every_room_has_its_floor():
    rooms = {f.relative_to(PACKAGE).parts[0] for f in FILES if f.parent != PACKAGE}
    assert rooms == {*FLOORS, "simulation"}


@pytest.mark.parametrize(
    "here, source, allowed",
    [
        ("theory.models", "from replicax.vocabulary.levels import Level", True),
        ("theory.models", "import replicax.answers.solve", False),
        ("numerics.roots", "def f():\n    from replicax.vocabulary import levels", False),
        ("simulation.metropolis", "from ..numerics import special", True),
        ("simulation.metropolis", "from .statistics import Statistic", True),
        ("simulation.metropolis", "from ..theory.models import Model", False),
        ("simulation.metropolis", "from .. import theory", False),
        ("simulation.metropolis", "import replicax as rx", False),
        ("answers.solve", "from replicax.simulation import Statistic", False),
        ("answers.solve", "from replicax import top", False),
        ("top.validate", "from replicax.simulation import Statistic", True),
    ],
)
def test_the_check_itself(here, source, allowed):
    (name,) = imports_of(ast.parse(source), f"replicax.{here}", False)
    there = room_of(name) if (PACKAGE / room_of(name)).is_dir() else ""
    assert may_import(here.split(".")[0], there) == allowed


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_file_is_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", rx.__all__)
def test_public_names_have_a_docstring_of_their_own(name):
    thing = getattr(rx, name)
    doc = thing.__doc__
    assert doc and doc.strip(), f"rx.{name} has no docstring"
    if inspect.isclass(thing):
        inherited = {base.__doc__ for base in thing.__mro__[1:]}
        assert doc not in inherited and not doc.startswith(f"{name}("), f"rx.{name}: no docstring of its own"


def test_public_names_exist_once():
    assert len(rx.__all__) == len(set(rx.__all__)) and set(dir(rx)) == set(rx.__all__)


@pytest.mark.parametrize("path", [f for f in FILES if f.name != "__init__.py"], ids=module_name)
def test_files_say_what_they_are(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.name.startswith("_")


def test_the_page_on_the_architecture_lists_every_file():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+(?:/\w+)+\.py)` \|", page, re.MULTILINE))
    assert listed == {f.relative_to(PACKAGE).as_posix() for f in FILES if f.name[:2] != "__"}


def test_no_paths_of_one_machine():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / name for name in tracked.stdout.splitlines()] if tracked.returncode == 0 else FILES
    local = re.compile(r"(?<![\w.~*])/(?:work|home|Users|root|tmp/w)/\w+")
    for path in paths:
        if path.is_file() and path.suffix in TEXT:
            found = local.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None, f"{path.name}: {found[0]}"
