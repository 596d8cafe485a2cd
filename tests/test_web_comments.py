"""What is sent without comments and spare blanks is the same program."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house import ROOT

from web.assets import FOLDER
from web.blanks import without_blanks
from web.comments import without_comments

NODE = Path(sys.executable).parent / "node"
SCRIPTS = sorted(file for file in FOLDER.rglob("*.js") if "vendor" not in file.parts)
INDENT = re.compile(r"(?:\\n *)+")
"""In a template literal, as JSON: all that may differ."""
AS_COMPILED = """
import ts from "typescript";
import { readFileSync } from "node:fs";
function tree(node) {
  const parts = [];
  ts.forEachChild(node, (part) => void parts.push(tree(part)));
  return parts.length > 0 ? [node.kind, ...parts] : [node.kind, node.text ?? ""];
}
for (const text of JSON.parse(readFileSync(0, "utf8")))
  console.log(JSON.stringify(tree(ts.createSourceFile("a.js", text, ts.ScriptTarget.ESNext))));
"""


def sent(text: str, suffix: str = ".js") -> str:
    return without_blanks(suffix, without_comments(suffix, text.encode())).decode()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("// a\nb();\n", "b();"),
        ("  /** a */\n  b()\n", "b()\n"),
        ("/**\n * a\n */\nb()\n\nc()\n", "b()\nc()\n"),
        ("b(); // goes;\nc() // too\nd()\n", "b();c()\nd()\n"),
        ("a = `// stays`; // goes with `this\n'// stays'\n", "a=`// stays`;'// stays'\n"),
        ("/** @type {A} */ (b)();\n/** c */\n", "(b)();"),
        ("const a = /** @type {{ b: 1 }} */ ({});\n", "const a=({});"),
        ("const a = '/*';\n", "const a='/*';"),
        ("a + +b - -c / d;\n", "a+ +b- -c / d;"),
        ("f({\n  a,\n  b: 1,\n});\n\ng()\nh();\n", "f({a,b:1});g()\nh();"),
        ("if (a) {\n  b();\n}\nc = function () {}\nd()\n", "if(a){b()}\nc=function(){}\nd()\n"),
        ("a = ' = ' + \"it's { \" + b;\n", "a=' = '+\"it's { \"+b;"),
        ("a = /[/ `] = {/g.test(b);\n", "a=/[/ `] = {/g.test(b);"),
        (
            "a = `b : ${ c({ d : 1 }) } , ${`e = ${ f }`} ;\n`;\n",
            "a=`b : ${c({d:1})} , ${`e = ${f}`} ;\n`;",
        ),
        ("a = [\n  b\n]\n  .c(\n!d)\n(e++ + ++f)\n", "a=[b].c(!d)\n(e++ + ++f)\n"),
        ("return { a : 1 } in b\n", "return{a:1}in b\n"),
        ("a = `never closed { \n", "a=`never closed { \n"),
    ],
)
def test_comments_types_and_what_parts_nothing_go(text: str, left: str) -> None:
    assert sent(text) == left


def test_a_style_loses_its_comments_but_not_what_looks_like_one_in_a_script() -> None:
    assert sent("/* a */\n// b\n", ".css") == "// b\n"


def test_a_style_keeps_the_blanks_that_mean_something() -> None:
    text = """
    .a :is(b, c) > d::after { content: " : { "; width: calc(1px + var(--e, 2px)); }
    @media (min-width: 1px) { .f { margin: 0 auto; } }
    """
    assert sent(text, ".css") == (
        """.a :is(b,c) > d::after{content:" : { ";width:calc(1px + var(--e,2px));}"""
        "@media (min-width:1px){.f{margin:0 auto;}}"
    )


def test_other_files_are_left_alone() -> None:
    assert sent("// a\n\n/* b */\n", ".html") == "// a\n\n/* b */\n"


@pytest.mark.processes
def test_every_script_is_the_same_program_to_the_compiler() -> None:
    texts = [file.read_text() for file in SCRIPTS]
    both = [text for written in texts for text in (written, sent(written))]
    compiled = subprocess.run(
        [NODE, "--input-type=module", "-e", AS_COMPILED],
        input=json.dumps(both),
        cwd=ROOT / "frontend",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(compiled) == 2 * len(SCRIPTS)
    for file, written, stripped in zip(SCRIPTS, compiled[::2], compiled[1::2], strict=True):
        assert INDENT.sub(r"\\n", written) == INDENT.sub(r"\\n", stripped), file
