"""`edgerest types`: what it prints is right for the compilers and for PostgreSQL's own JSON."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given
from hypothesis import strategies as st

from pool.pool import Pool
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.cli.main import main
from proxy.client_types.model import ArrayOf, Described, EnumOf, RowOf, Value
from proxy.client_types.modules import read_described
from proxy.client_types.python import python
from proxy.client_types.typescript import typescript
from proxy.schema_cache.load import CacheOptions, load_schema_cache
from proxy.schema_cache.model import Column, QualifiedName, SchemaCache, Table
from tests.conftest import StartEdge, execute
from tests.demo_database import load_demo, serve_demo
from tests.docs.blocks import blocks_of
from tests.http.processes import ROOT
from tests.ports import free_port
from tests.runtimes.npm import INSTALL_SECONDS, CannotInstall, installed_packages
from tests.zoo.schema import SCHEMA

pytestmark = pytest.mark.timeout(INSTALL_SECONDS + 60)
HERE = Path(__file__).parent
USE_PYTHON = """\
from typing import assert_type

from database import CompleteTaskArgs, OpenTasks, ProjectProgressResult, Tasks, TasksInsert
from edge_client import EdgeClient

with EdgeClient("http://localhost:1") as client:
    rows = client.table("tasks", Tasks).select("*").execute()
    assert_type(rows.data, list[Tasks])
    assert_type(rows.data[0]["due_date"], str | None)
    new: TasksInsert = {"project_id": 1, "title": "x"}
    client.table("tasks", Tasks).insert(new).execute()
    wrong: TasksInsert = {"title": "x"}  # type: ignore[typeddict-item]
    new["search"] = "x"  # type: ignore[typeddict-unknown-key]
    arguments: CompleteTaskArgs = {"task_id": 1}
    told = client.rpc("project_progress", {"project_id": 1}, row=ProjectProgressResult)
    found = told.execute()
    assert_type(found.data[0]["percent"], float | None)
"""


@pytest.fixture(scope="module")
def demo(postgres: EmbeddedPostgres) -> str:
    load_demo(postgres, "demo_types", 100)
    return postgres.dsn_for("demo_types")


@pytest.fixture(scope="module")
def zoo(postgres: EmbeddedPostgres) -> str:
    asyncio.run(execute(postgres.dsn, "create database zoo_types"))
    dsn = postgres.dsn_for("zoo_types")
    asyncio.run(execute(dsn, SCHEMA))
    return dsn


def printed(dsn: str, schemas: str, language: str) -> str:
    environ = {"PGRST_DB_URI": dsn, "PGRST_DB_SCHEMAS": schemas}
    result = CliRunner(env=environ).invoke(main, ["types", language])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def shown(language: str) -> str:
    """What docs/types.md shows in a language."""
    blocks = blocks_of(ROOT / "docs" / "types.md")
    return "".join(block.text for block in blocks if block.language == language)


@pytest.fixture
def compiled(tmp_path: Path) -> Iterator[Path]:
    """A folder whose `use.ts` can be compiled."""
    try:
        packages = installed_packages()
    except CannotInstall as error:
        pytest.skip(f"there is no compiler: {error}")
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    yield tmp_path
    options = "--noEmit --strict --target es2022 --module esnext --moduleResolution bundler"
    done = subprocess.run(
        ["node_modules/.bin/tsc", *options.split(), "--skipLibCheck", "use.ts"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


def test_postgrest_js_takes_the_types_of_the_demo(demo: str, compiled: Path) -> None:
    (compiled / "database.ts").write_text(printed(demo, "api", "typescript"))
    shutil.copy(HERE / "use.ts", compiled)


def test_the_page_is_right_of_typescript(demo: str, compiled: Path) -> None:
    (compiled / "database.ts").write_text(printed(demo, "api", "typescript"))
    (compiled / "use.ts").write_text(shown("ts"))


def test_the_compiler_takes_the_types_of_anything(zoo: str, compiled: Path) -> None:
    (compiled / "use.ts").write_text(printed(zoo, "zoo,public", "typescript"))


def checked(folder: Path, *files: str) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.11"]
    environ = {**os.environ, "MYPYPATH": str(folder)}
    done = subprocess.run(
        [*command, "--cache-dir", str(folder / ".mypy"), *files],
        check=False,
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout


def test_mypy_takes_the_types_of_the_demo(demo: str, tmp_path: Path) -> None:
    (tmp_path / "database.py").write_text(printed(demo, "api", "python"))
    (tmp_path / "use.py").write_text(USE_PYTHON)
    (tmp_path / "page.py").write_text(shown("python"))
    checked(tmp_path, "use.py", "page.py")


def test_mypy_takes_the_types_of_anything(zoo: str, tmp_path: Path) -> None:
    (tmp_path / "database.py").write_text(printed(zoo, "zoo,public", "python"))
    checked(tmp_path, "database.py")


# --- of a running server ---------------------------------------------------------------------


def asked(*options: str) -> Result:
    return CliRunner().invoke(main, ["types", "typescript", *options])


def test_a_running_server_tells_the_same(
    demo: str, postgres: EmbeddedPostgres, start_edge: StartEdge
) -> None:
    port = free_port()
    with serve_demo(
        start_edge,
        postgres,
        "demo_types",
        admin_server_host="127.0.0.1",
        admin_server_port=port,
    ):
        url = f"http://127.0.0.1:{port}"
        assert asked("--url", url).stdout == printed(demo, "api", "typescript")
        for wrong in (("--url", f"{url}/x"), ("--url", url, "--app", "nobody")):
            refused = asked(*wrong)
            assert (refused.exit_code, refused.stdout) == (1, "")
            assert "answers 404" in refused.stderr
    refused = asked("--url", url)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("edgerest: The admin server: ")
    hidden = asked("--url", url.replace("://", "://user:s3cret@"))
    assert "s3cret" not in hidden.output


# --- beside PostgreSQL ----------------------------------------------------------------------


def fits(value: Value, found: Any) -> bool:
    """Whether a JSON value is what the type says."""
    if found is None:
        return True
    if isinstance(value, ArrayOf):
        return isinstance(found, list) and all(
            # An array of several dimensions is one of arrays.
            fits(value.element, each) or (isinstance(each, list) and fits(value, each))
            for each in found
        )
    if isinstance(value, EnumOf):
        return found in value.labels
    if isinstance(value, RowOf):
        return list(found) == [name for name, _ in value.fields] and all(
            fits(kind, found[name]) for name, kind in value.fields
        )
    kinds: dict[str, type | tuple[type, ...]] = {
        "boolean": bool,
        "integer": int,
        "number": (int, float),
        "string": str,
        "record": dict,
    }
    return value == "json" or isinstance(found, kinds[value])


async def wrong_values(dsn: str, schema: str) -> tuple[int, list[str]]:
    """How many values of tables were looked at, and which are not what is told of them."""
    pool, connection = Pool(dsn, size=1), await asyncpg.connect(dsn)
    try:
        cache = await load_schema_cache(pool, CacheOptions((schema,)))
        described = await read_described(pool.run, cache, (schema,))
        count, wrong = 0, []
        for table in described.tables(schema):
            sql = "select row_to_json(t.*) from {} as t limit 20"
            name = await connection.fetchval(
                "select format('%I.%I', $1::text, $2::text)", schema, table.name
            )
            for (row,) in await connection.fetch(sql.format(name)):
                told = json.loads(row)
                for column, value in described.columns(table):
                    count += 1
                    if not fits(value, told[column.name]):
                        wrong.append(f"{name}.{column.name}: {value} {told[column.name]!r}")
                    if told[column.name] is None and not column.nullable:
                        wrong.append(f"{name}.{column.name} is null")
        return count, wrong
    finally:
        await connection.close()
        await pool.close()


def test_values_are_what_the_types_say(zoo: str, demo: str) -> None:
    for dsn, schema in ((zoo, "zoo"), (demo, "api")):
        count, wrong = asyncio.run(wrong_values(dsn, schema))
        assert count > 100
        assert wrong == []


# --- names ----------------------------------------------------------------------------------

names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20)


def described_as(schema: str, table: str, column: str, label: str, text: str) -> Described:
    enum = EnumOf(QualifiedName(schema, f"{table}e"), (label,))
    columns = {
        column: Column(column, None, False, "e", "e", None, None),
        f"{column}2": Column(f"{column}2", None, True, "text[]", "text[]", None, None),
    }
    made = Table(schema, table, text, False, True, True, True, (), columns)
    cache = SchemaCache(tables={QualifiedName(schema, table): made})
    return Described((schema,), cache, {"e": enum}, (), frozenset())


@given(names, names, names, names, names, st.booleans())
@example("my-schema", "t", "c", "l", "", False)
def test_any_name_makes_a_python_module(
    schema: str, table: str, column: str, label: str, text: str, is_default: bool
) -> None:
    described = described_as(schema, table, column, label, text)
    if not is_default:
        described = replace(described, schemas=("", schema))
    module: dict[str, Any] = {}
    exec(compile(python(described), "m", "exec"), module)  # noqa: S102 -- that is the point
    rows = [
        set(value.__annotations__)
        for value in module.values()
        if isinstance(value, type) and hasattr(value, "__total__")
    ]
    assert rows.count({column, f"{column}2"}) == 3


@given(names, names, names, names, names)
def test_any_name_stays_within_its_quotes(
    schema: str, table: str, column: str, label: str, text: str
) -> None:
    plain = typescript(described_as("s", "t", "c", "l", ""))
    odd = typescript(described_as(schema, table, column, label, text))
    assert odd.count("\n") == plain.count("\n")
    assert json.dumps(label) in odd
