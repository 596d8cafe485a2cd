"""The page's modules as one script do what they do one by one."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house import ROOT

from web.assets import FOLDER, Assets
from web.bundle import BundleError, bundle, declared

NODE = Path(sys.executable).parent / "node"
MODULES = {
    "main.js": 'import { twice } from "./views/a.js";\nimport { ONE } from "./b.js";\n'
    "const same = 5;\nconsole.log(JSON.stringify([twice(ONE), same]));\n",
    "views/a.js": 'import { ONE, Box } from "../b.js";\nconst two = 2;\n'
    "export function twice(n) {\n  const same = two;\n  return new Box(n * same * ONE).n;\n}\n",
    "b.js": "export const ONE = 21;\nexport class Box {\n  constructor(n) { this.n = n; }\n}\n",
}


def run(script: Path) -> object:
    done = subprocess.run([NODE, script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.processes
def test_the_bundle_does_what_the_modules_do(tmp_path: Path) -> None:
    for name, source in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "one.js").write_text(bundle("main.js", MODULES))
    assert run(tmp_path / "one.js") == run(tmp_path / "main.js") == [882, 5]


def test_every_module_is_in_it_once_after_what_it_imports() -> None:
    script = bundle("main.js", MODULES)
    places = [script.index(part) for part in ("class Box", "function twice", "same = 5")]
    assert places == sorted(places)
    assert script.count("class Box") == 1


def test_what_others_wrote_stays_a_file_of_its_own() -> None:
    sources = {
        "main.js": 'import { html } from "./vendor/x.js";\nimport { a } from "./a.js";\na(html);\n',
        "a.js": 'import { html, render } from "./vendor/x.js";\nexport function a() {}\n',
    }
    script = bundle("main.js", sources)
    assert script.count("import") == 1
    assert 'import { html, render } from "./vendor/x.js";' in script


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ('import all from "./b.js";', "not read"),
        ('import { a } from "./main.js";', "imports itself"),
        ('import { a } from "./gone.js";', "gone.js, which is not there"),
        ("export default 1;", "not read"),
        ("export { a };", "not read"),
        ("export let a;", "not read"),
        ("await a();", "not read"),
        ('import { one as a } from "./b.js";', "not read"),
        (
            'import { one } from "./b.js";\nexport const one = 2;',
            "more than one module declares one",
        ),
        ('import { one } from "./b.js";\nlet two;', "more than one module declares two"),
        ('import { one } from "./b.js";\nconst [\n  a, two,\n] = [];', "module declares two"),
    ],
)
def test_what_it_does_not_read_is_refused_by_name(source: str, named: str) -> None:
    with pytest.raises(BundleError, match=named):
        bundle("main.js", {"main.js": source + "\n", "b.js": "export const one = 1;\nlet two;\n"})


def test_modules_that_cannot_be_one_are_sent_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "main.js").write_text("export default 1;\n")
    asset = Assets(tmp_path).get("main.js")
    assert asset is not None and asset.body == b"export default 1;"
    assert "sent one by one" in caplog.text


def test_the_page_is_one_script_beside_what_others_wrote() -> None:
    asset = Assets().get("main.js")
    assert asset is not None
    script = asset.body.decode()
    assert all(f"{name}{{" in script for name in ("class Store", "class FleetMap"))
    imports = [part for part in re.split("[;\n]", script) if part.startswith("import")]
    assert imports == ['import{html,nothing,render}from "./vendor/lit-html.js"']


def test_no_module_declares_what_another_may_ask_of_the_browser() -> None:
    """Every other module sees a name, also one that means the browser's own of that name."""
    own = {
        name
        for file in FOLDER.rglob("*.js")
        if "vendor" not in file.parts
        for name in declared(file.read_text())
    }
    library = ROOT / "frontend" / "node_modules" / "typescript" / "lib"
    browsers = {
        name
        for file in library.glob("lib.*.d.ts")
        for name in re.findall(
            r"^(?:declare \w+|interface|type) (\w+)", file.read_text(), re.MULTILINE
        )
    }
    assert {"history", "Text", "Map"} <= browsers and len(own) > 50
    assert own & browsers == set()
