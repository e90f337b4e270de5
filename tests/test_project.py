"""What the project promises as a whole: rooms, versions, the README, the commands."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import decodeloop
from decodeloop.course.building import lesson_paths
from decodeloop.course.lessons import read_lesson
from decodeloop.course.weighing import excess, weigh

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "decodeloop"
# What the modules of a room may import, besides those of their own.
GROUND = {"errors", "devices", "dtypes", "bar"}  # single modules that every room may use
COMPUTES = GROUND | {
    "model",
    "decode",
    "compress",
    "kernels",
    "checkpoints",
    "assembling",
    "finding",
    "loading",
}
ROOMS = {
    "errors": set(),
    "devices": {"errors"},
    "dtypes": {"errors"},
    "bar": set(),
    "nbguards": set(),  # of no room: a plugin for whoever tests notebooks
    "model": GROUND,
    "decode": GROUND | {"model"},
    "compress": GROUND | {"model", "decode"},
    "kernels": GROUND | {"model", "compress"},  # the cache in fewer bits
    "checkpoints": GROUND | {"model"},
    "assembling": GROUND | {"model", "compress", "kernels", "checkpoints"},
    "finding": GROUND | {"model", "checkpoints", "assembling", "cost"},
    "loading": GROUND
    | {"model", "decode", "compress", "kernels", "checkpoints", "assembling", "finding"},
    "drafting": GROUND | {"decode", "loading"},
    "exporting": COMPUTES - {"decode"},
    "cost": GROUND | {"model", "checkpoints"},
    "serve": GROUND | {"model", "decode", "kernels", "cost"},
    "parallel": GROUND | {"model", "decode", "cost", "serve"},
    "quality": GROUND | {"model", "decode"},
    "measure": COMPUTES | {"cost", "serve"},
    "splitting": COMPUTES | {"parallel", "measure"},
    "bench": COMPUTES | {"drafting", "cost", "serve", "measure", "quality"},
    "exercises": COMPUTES | {"cost", "serve", "parallel", "quality"},
    "course": COMPUTES
    | {"cost", "serve", "parallel", "splitting", "measure", "quality", "exercises", "nbguards"},
    "doctor": COMPUTES | {"measure", "course"},
    "commands": COMPUTES
    | {
        "drafting",
        "exporting",
        "cost",
        "serve",
        "parallel",
        "splitting",
        "measure",
        "bench",
        "quality",
    }
    | {"exercises", "course"}
    | {"doctor"},
    "__main__": {"commands"},
    "": {"loading"},  # decodeloop.load
}
PUBLIC = ["model", "decode", "compress", "kernels", "bench", "checkpoints", "cost", "serve"]
PUBLIC += ["parallel", "measure", "quality", "exercises", "course", "commands"]
MODULES = [
    info.name
    for room in PUBLIC
    for info in pkgutil.walk_packages([str(SOURCE / room)], f"decodeloop.{room}.")
]
REGISTRIES = [
    host + ending
    for host, ending in [
        ("pypi", ".org"),
        ("files.pythonhosted", ".org"),
        ("registry.npmjs", ".org"),
        ("conda.anaconda", ".org"),
    ]
]


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def requirements():
    """Every direct requirement, those of the extras included; peers, Ray too, as they come."""
    extras = {**project()["optional-dependencies"]}
    known = {"lab", "build", "serve", "ray", "grade", "test", "site", "dev", "peers"}
    assert known == set(extras)
    del extras["peers"], extras["ray"]
    groups = [project()["dependencies"], *extras.values()]
    listed = [requirement for group in groups for requirement in group]
    found = {r.name.lower(): r for r in map(Requirement, listed) if r.name != "decodeloop"}
    assert len(found) > 10
    return found


def pins():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [line.split("==") for line in lines if line and not line.startswith("#")]


def readme():
    return (ROOT / "README.md").read_text("utf-8")


# rooms


def test_importing_the_package_does_not_import_torch():
    code = "import sys, decodeloop.commands, decodeloop.doctor; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_load_is_at_the_top_and_nothing_else_is_pretended():
    from decodeloop.loading import load

    assert decodeloop.load is load
    with pytest.raises(AttributeError, match="no attribute 'unload'"):
        _ = decodeloop.unload


def room_of(path):
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            top, *rest = name.split(".")
            if top == "decodeloop":
                yield rest[0] if rest and rest[0] in ROOMS else ""


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.relative_to(SOURCE).as_posix()
)
def test_imports_go_one_way(path):
    room = room_of(path)
    assert room in ROOMS, f"say in this test what {room} may import"
    wrong = set(imported_rooms(path)) - ROOMS[room] - {room}
    assert not wrong, f"{path} must not import {wrong}"


def test_no_arrow_runs_back():
    for room, used in ROOMS.items():
        back = {other for other in used if room in ROOMS[other]}
        assert not back, f"{room} and {back} import each other"


TABLES = {"cost/accelerators.py"}  # data alone


def test_a_module_fits_on_a_few_screens():
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name not in TABLES and not name.startswith("exercises/lesson_"):
            assert len(path.read_text("utf-8").splitlines()) <= 350, name


def test_a_module_of_the_engine_is_one_idea():
    paths = list((SOURCE / "serve").glob("*.py"))
    assert len(paths) > 8
    for path in paths:
        assert len(path.read_text("utf-8").splitlines()) < 200, path


def test_the_package_says_that_it_is_typed():
    assert (SOURCE / "py.typed").is_file()
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    shipped = tool["setuptools"]["package-data"]["decodeloop"]
    assert "py.typed" in shipped
    files = [p for p in SOURCE.rglob("*") if p.is_file() and p.parent.name != "__pycache__"]
    data = {p for p in files if p.suffix != ".py"}
    assert data == {p for pattern in shipped for p in SOURCE.glob(pattern)}


@pytest.mark.parametrize("room", PUBLIC)
def test_public_names_exist_are_sorted_out_and_explained(room):
    module = importlib.import_module(f"decodeloop.{room}")
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__) > 0
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            text = thing.__doc__ or ""
            assert len(text) > 20, f"{room}.{name} has no docstring"
            assert not text.startswith(f"{name}("), f"{room}.{name} has only dataclass's docstring"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples_in_docstrings():
    finder = doctest.DocTestFinder()
    modules = map(importlib.import_module, MODULES)
    assert sum(len(t.examples) for m in modules for t in finder.find(m)) >= 3


# versions


def test_the_conda_environment_asks_for_what_the_package_asks_for():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    listed = [d for d in environment["dependencies"] if isinstance(d, str)]
    [pip] = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == ["-e ."]
    wanted = {name: r.specifier for name, r in requirements().items()}
    wanted["pytorch"] = wanted.pop("torch")
    wanted["python"] = SpecifierSet(project()["requires-python"])
    bounds = {r.name: r.specifier for r in map(Requirement, listed) if r.name != "pip"}
    assert {"python", "pytorch", "jupyterlab"} <= set(bounds)
    assert bounds == {name: wanted[name] for name in bounds}


def test_every_constraint_is_one_exact_version():
    for pin in pins():
        assert len(pin) == 2, pin
        assert re.fullmatch(r"[\w.]+", pin[1]), pin
    names = [name.lower().replace("-", "_") for name, _ in pins()]
    assert len(set(names)) == len(names)


def test_the_pinned_versions_can_be_had_on_the_oldest_python():
    """Some ask for a later patch than a distribution's Python has, and pip looks for hours."""
    lowest = project()["requires-python"].removeprefix(">=")
    looked_at = 0
    for name, version in pins():
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another system
            continue
        asked = found.metadata.get("Requires-Python")
        if asked and found.version.partition("+")[0] == version:
            assert SpecifierSet(asked).contains(lowest), f"{name} {version} asks for Python {asked}"
            looked_at += 1
    assert looked_at > 50


def test_the_constraints_satisfy_the_bounds_and_leave_nothing_open():
    pinned = {name.lower().replace("_", "-"): version for name, version in pins()}
    for name, requirement in requirements().items():
        assert requirement.specifier.contains(pinned[name]), name
        assert str(requirement.specifier).startswith(">="), f"{name} has no honest lower bound"
    assert pinned["torch"] == "2.13.0"


# texts


def test_the_readme_lists_the_lessons_that_exist_and_no_others():
    row = re.compile(
        r"^\| \[(\w+)\]\(notebooks/(\w+)\.ipynb\) \| ([^|]+) \| (\d+) \|", re.MULTILINE
    )
    listed = [(n, name, title, int(m)) for n, name, title, m in row.findall(readme())]
    lessons = [read_lesson(path) for path in lesson_paths(ROOT)]
    assert listed == [(x.number, x.name, x.title, x.minutes) for x in lessons]


def test_a_lesson_says_the_same_minutes_in_its_text():
    for path in lesson_paths(ROOT):
        lesson = read_lesson(path)
        assert f"about {lesson.minutes} minutes" in path.read_text("utf-8"), path


@pytest.mark.parametrize("path", lesson_paths(ROOT), ids=lambda path: path.stem)
def test_no_lesson_exceeds_the_measure(path):
    assert not excess(weigh(read_lesson(path)))


PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8"))
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (path.parent / link).exists()]


def test_every_page_is_found_from_the_readme():
    assert len(PAGES) > 7
    seen, new = set(), [ROOT / "README.md"]
    while new:
        page = new.pop()
        seen.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text("utf-8"))
        new += {(page.parent / link).resolve() for link in links if "://" not in link} - seen
    assert not set(PAGES) - seen


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pictures_have_words_for_who_cannot_see_them(path):
    for words in re.findall(r"!\[([^\]]*)\]\(", path.read_text("utf-8").replace("\n", " ")):
        assert len(words.split()) >= 2, words


def test_the_first_screen_of_the_readme():
    lines = readme().splitlines()
    assert lines[0] == "# decodeloop: LLM inference from scratch, on your laptop's CPU"
    headings = [line for line in lines if line.startswith("## ")]
    assert headings[:3] == ["## Two commands", "## Three paths", "## Lessons"]
    words = readme().split("## Three paths")[0].split()
    assert len(words) < 3 * 180, "three minutes of reading, and two commands"


def test_the_commands_of_the_readme_exist():
    commands = re.findall(r"^make (\w+)", readme(), re.MULTILINE)
    assert commands[:2] == ["lab", "test"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for command in {*commands, *re.findall(r"`make (\w+)", readme())}:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
    from decodeloop.commands import app

    known = {c.callback.__name__ for c in app.registered_commands}
    named = set(
        re.findall(r"decodeloop (doctor|fetch|generate|lab|build|progress|bench)", readme())
    )
    assert named <= known


def test_what_ci_runs_is_the_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert "make test" in script
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    assert "run: make test" in workflow


def workflow(name):
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text("utf-8"))["jobs"]


@pytest.mark.parametrize(("name", "job"), [("tests.yml", "pinned"), ("newest.yml", "unpinned")])
def test_hosted_macs_compute_on_the_cpu(name, job):
    """Their GPU has too little memory for the notebooks."""
    job = workflow(name)[job]
    assert "macos-latest" in job["strategy"]["matrix"]["os"]
    assert "matrix.os == 'macos-latest' && 'cpu'" in job["env"]["DECODELOOP_DEVICE"]


def test_ci_runs_the_worked_notebooks_on_a_pretend_gpu():
    steps = [step.get("run", "") for step in workflow("tests.yml")["device"]["steps"]]
    assert steps[-1] == "make test-device"
    assert "make cpu" in steps, "it takes the place of CUDA"
    assert "--torch-backend=cpu" in (ROOT / "Makefile").read_text("utf-8")


# other machines: what is said there is what the project says


def recipe(target):
    """The lines of a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]


def dockerfile():
    """The Dockerfile as pairs of an instruction and its words."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


def targets_called(command):
    """Those of the Makefile that a shell command makes, and the words of `decodeloop` in it."""
    made = [words.split() for words in re.findall(r"(?:^|[;&] )make ([a-z -]+)", command)]
    made = [name for words in made for name in words]
    return made, re.findall(r"\.venv/bin/decodeloop ([^&|;]+)", command)


def test_the_container_is_made_by_the_commands_of_the_project():
    steps = dockerfile()
    runs = " ; ".join(words for name, words in steps if name == "RUN")
    made, commands = targets_called(runs)
    assert made == ["cpu", "fetch"]
    for target in made:
        assert recipe(target)
    assert [command.split() for command in commands] == [["lab", "--no-open"]]
    [base] = [words for name, words in steps if name == "FROM"]
    lowest = project()["requires-python"].removeprefix(">=")
    assert base.startswith(f"python:{lowest}-slim")


def test_the_container_has_no_rights_and_asks_for_a_token():
    steps = dockerfile()
    names = [name for name, _ in steps]
    [user] = [words for name, words in steps if name == "USER"]
    assert user != "root"
    made = names.index("USER")
    before = [words for name, words in steps[:made] if name == "RUN"]
    assert not [words for words in before if re.search(r"make (cpu|fetch)", words)]
    [start] = [json.loads(words) for name, words in steps if name == "CMD"]
    assert start[:2] == [".venv/bin/decodeloop", "lab"]
    assert not [word for word in start if "token" in word or "password" in word]
    [port] = [words for name, words in steps if name == "EXPOSE"]
    assert f"--port={port}" in start
    text = (ROOT / "Dockerfile").read_text("utf-8") + (ROOT / "docs/installing.md").read_text(
        "utf-8"
    )
    published = re.findall(r"docker run .*?-p (\S+)", text)
    assert published == [f"127.0.0.1:{port}:{port}"] * 2, "on this machine alone"


def test_the_container_takes_nothing_that_git_leaves_out():
    left_out = set((ROOT / ".dockerignore").read_text("utf-8").split())
    assert {".git", ".venv*", "work", "build", "dist"} <= left_out
    copied = [words.split() for name, words in dockerfile() if name == "COPY"]
    for *names, _ in copied:
        for name in names[1:]:
            assert name == "." or (ROOT / name).is_file(), name


def test_the_dev_container_is_made_by_the_commands_of_the_project():
    made_of = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    made, commands = targets_called(made_of["onCreateCommand"])
    assert made == ["cpu", "fetch"]
    assert [command.split() for command in commands] == [["lab", "--no-open"]]
    assert project()["requires-python"].removeprefix(">=") in made_of["image"]
    python = made_of["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert python.endswith("/.venv/bin/python")
    for name in made_of["customizations"]["codespaces"]["openFiles"]:
        assert (ROOT / "notebooks" / "lab" / Path(name).name).is_file()


def test_binder_finds_its_files_where_it_looks():
    """A folder called binder or .binder would hide those in the root."""
    assert not [name for name in ("binder", ".binder") if (ROOT / name).exists()]
    assert (ROOT / "environment.yml").is_file()
    path = ROOT / "postBuild"
    assert path.stat().st_mode & 0o111 or sys.platform == "win32"
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith("#!")
    assert [line for line in lines if line.startswith("decodeloop")] == [
        "decodeloop fetch",
        "decodeloop lab --no-open",
    ]


def test_the_lab_asks_for_jupyter_and_the_course_alone_does_not():
    plain = {Requirement(r).name for r in project()["dependencies"]}
    lab = {Requirement(r).name for r in project()["optional-dependencies"]["lab"]}
    assert lab == {"jupyterlab", "ipykernel"}
    assert not plain & lab
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "constraints.txt -e '.[lab]'" in makefile


def test_the_citation_is_of_this_project():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(cited)  # the schema demands them
    assert cited["version"] == project()["version"]
    assert cited["license"] == project()["license"]
    assert readme().startswith(f"# {cited['title']}\n")
    assert set(cited["keywords"]) <= set(project()["keywords"])
    assert f"## {cited['version']}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_issue_forms_are_what_github_takes():
    names = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in FORMS}
    assert set(names.pop("config.yml")) == {"blank_issues_enabled"}
    assert len(names) >= 2
    for form in names.values():
        assert {"name", "description", "body"} <= set(form)
        ids = [field["id"] for field in form["body"]]
        assert len(set(ids)) == len(ids)
        for field in form["body"]:
            assert field["type"] in ("input", "textarea", "dropdown")
            assert field["attributes"]["label"]
            assert ("options" in field["attributes"]) == (field["type"] == "dropdown")
        assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_the_commands_of_the_pull_request_form_exist():
    text = (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text("utf-8")
    named = re.findall(r"`make (\w+)", text)
    assert len(named) >= 3
    for target in named:
        assert recipe(target)


def test_the_site_is_built_and_checked_before_it_is_published():
    jobs = workflow("site.yml")
    steps = [step.get("run") or step.get("uses") for step in jobs["build"]["steps"]]
    order = ["make site", "make site-check", "actions/upload-pages-artifact@v3"]
    assert [step for step in steps if step in order] == order
    assert jobs["publish"]["needs"] == "build"
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"sphinx -W .* build/site$", makefile, re.MULTILINE), "warnings are errors"


def test_what_npm_fetches_is_pinned():
    wanted = json.loads((ROOT / "tools" / "site" / "package.json").read_text("utf-8"))
    locked = json.loads((ROOT / "tools" / "site" / "package-lock.json").read_text("utf-8"))
    assert locked["packages"][""]["dependencies"] == wanted["dependencies"]
    for name, version in wanted["dependencies"].items():
        assert re.fullmatch(r"[\d.]+", version), name
        assert locked["packages"][f"node_modules/{name}"]["version"] == version
    for name, package in locked["packages"].items():
        assert not name or package["integrity"].startswith("sha512-"), name


def test_no_text_names_the_host_of_a_package_registry():
    names = ("lessons", "notebooks", "docs", "src", "tests", "tools", ".ci", ".github")
    folders = [ROOT / name for name in names]
    files = [p for p in ROOT.iterdir() if p.is_file()]
    files += [p for folder in folders for p in folder.rglob("*") if p.is_file()]
    texts = {p: p.read_bytes() for p in files if p.suffix not in (".pyc", ".png")}
    assert len(texts) > 50
    for path, data in texts.items():
        assert not [host for host in REGISTRIES if host.encode() in data], path
