"""The house as the README draws it, and the pipeline as dvc.yaml lists it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import grimp
import pytest
import yaml

STAGES = ("prepare", "fit", "calibrate", "export", "evaluate", "card", "score")
TOP_LEVEL = {
    "pipeline", "models", "labels", "configs", "experiments", "tests", "docs", "dvc.yaml", "dvc.lock", "pyproject.toml",
    "constraints.txt", "Makefile", "README.md", "CONTRIBUTING.md", "LICENSE", "CHANGELOG.md",
}  # fmt: skip


def _tracked(project: Path) -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=project, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.splitlines() if (project / name).exists()]


def _tree(project: Path) -> set[str]:
    """Paths drawn in the README's tree: two blanks of indent a level, a comment after two blanks."""
    text = (project / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```text tree\n(.*?)```", text, re.DOTALL)
    assert block, "the README draws no tree"
    paths, stack = set(), []
    for line in block.group(1).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = re.split(r"\s{2,}", line.strip())[0]
        stack = [*stack[:depth], name.rstrip("/")]
        paths.add("/".join(stack))
    return paths


def test_the_top_level_is_what_was_agreed(project: Path) -> None:
    top = {name.split("/")[0] for name in _tracked(project)}
    assert {name for name in top if not name.startswith(".")} == TOP_LEVEL


def test_the_tree_in_the_readme_is_on_the_disk(project: Path) -> None:
    missing = {path for path in _tree(project) if not (project / path).exists()}
    assert not missing


def test_what_is_on_the_disk_is_in_the_tree(project: Path) -> None:
    tree = _tree(project)
    modules = {
        name.split("/__init__")[0]
        for name in _tracked(project)
        if re.fullmatch(r"pipeline/secondlook/(\w+\.py|\w+/__init__\.py)", name) and "__" not in name.split("/")[-1][:2]
    }
    packages = {
        name.rsplit("/", 1)[0]
        for name in _tracked(project)
        if re.fullmatch(r"pipeline/secondlook/\w+/__init__\.py", name)
    }
    assert modules | packages <= tree
    assert {name for name in TOP_LEVEL if name not in ("dvc.lock", "LICENSE")} <= tree


def _imported(stage: str, project: Path) -> set[str]:
    graph = grimp.build_graph("secondlook", cache_dir=None)
    modules = {f"secondlook.{stage}", *graph.find_upstream_modules(f"secondlook.{stage}")}
    files = {Path("pipeline", *module.split(".")) for module in modules if module != "secondlook"}
    return {(f"{file}.py" if (project / f"{file}.py").exists() else f"{file}/") for file in map(Path.as_posix, files)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_modules_it_really_imports(project: Path, stage: str) -> None:
    deps = yaml.safe_load((project / "dvc.yaml").read_text())["stages"][stage]["deps"]
    listed = {dep for dep in deps if dep.startswith("pipeline/")}
    wanted = set()
    for path in _imported(stage, project):
        # A package is listed as a folder; its modules need not be listed one by one.
        parts = path.split("/")
        wanted.add("/".join(parts[:3]) if len(parts) > 3 else path.rstrip("/"))
    templates = {dep for dep in listed if "/templates" in dep}
    assert listed - templates == wanted


def test_every_stage_runs_one_command_of_the_same_name(project: Path) -> None:
    stages = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]
    assert tuple(stages) == STAGES
    for name, stage in stages.items():
        assert stage["cmd"].startswith(f"secondlook {name} ")


def test_importing_does_no_work(tmp_path: Path) -> None:
    """No file appears, and help needs neither scikit-learn nor pandas."""
    code = (
        "import secondlook, secondlook.cli, sys;"
        "heavy = {'sklearn', 'pandas', 'pyarrow', 'numpy', 'mlflow', 'torch'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


def test_every_dependency_has_its_reason(project: Path) -> None:
    lines = (project / "pyproject.toml").read_text().splitlines()
    requirement = re.compile(r'^\s+"[A-Za-z][\w.\[\]-]*[<>=]')
    without = [line.strip() for line in lines if requirement.match(line) and "#" not in line]
    obvious = {"mypy", "pandas-stubs", "pytest", "ruff", "types-PyYAML"}
    assert {re.split(r'[<>="\[]', line)[1] for line in without} <= obvious


def test_the_constraints_pin_every_direct_dependency(project: Path) -> None:
    metadata = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    wanted = [
        *metadata["dependencies"],
        *(one for extra in metadata["optional-dependencies"].values() for one in extra),
    ]
    names = {re.split(r"[<>=\[]", one)[0].lower().replace("_", "-") for one in wanted} - {"secondlook"}
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (project / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert names <= pinned


def test_the_wheel_carries_the_bundle_and_the_templates(project: Path, tmp_path: Path) -> None:
    hatchling = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    builder = hatchling.WheelBuilder(str(project))
    wheel = next(iter(builder.build(directory=str(tmp_path), versions=["standard"])))
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("models/default/manifest.json", "models/default/model.onnx", "py.typed"):
        assert f"secondlook/{name}" in names
    assert any(name.startswith("secondlook/templates/") for name in names)
    assert not [name for name in names if name.startswith(("tests", "labels"))]


def test_the_project_speaks_of_itself_alone(project: Path) -> None:
    """No path of somebody's machine in what is shipped."""
    found = []
    for name in _tracked(project):
        if name.endswith((".py", ".md", ".yaml", ".toml", ".jinja", ".css", ".js")) and not name.startswith(
            "tests/architecture"
        ):
            text = (project / name).read_text(encoding="utf-8")
            found += [name for word in ("/home/", "/work/", "../shared") if word in text]
    assert not found
