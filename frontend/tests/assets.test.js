import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const APP = new URL("../app/", import.meta.url);
const FILES = readdirSync(APP, { recursive: true })
  .map((name) => name.replaceAll("\\", "/"))
  .filter((name) => /\.(js|css|html|svg)$/.test(name));
const text = (name) => readFileSync(new URL(name, APP), "utf8");

test("no file names another host", () => {
  for (const name of FILES.filter((name) => !name.startsWith("vendor/"))) {
    const rest = text(name).replaceAll("http://www.w3.org/2000/svg", "");

    assert.doesNotMatch(rest, /https?:\/\/|["'(]\/\//, name);
  }
});

test("no URL starts at the root, so the page works below any path", () => {
  assert.doesNotMatch(text("index.html"), /(src|href)="\//);
  for (const name of FILES.filter((name) => name.endsWith(".js"))) {
    assert.doesNotMatch(text(name), /(from|import|fetch\() ?"\//, name);
  }
});

test("no script inserts text as markup", () => {
  for (const name of FILES.filter((name) => name.endsWith(".js") && !name.startsWith("vendor/"))) {
    assert.doesNotMatch(text(name), /innerHTML|outerHTML|insertAdjacentHTML|unsafeHTML|document\.write|eval\(/, name);
  }
});

test("every file works under a strict content security policy", () => {
  assert.doesNotMatch(text("index.html"), / style=| on\w+=|<style|<script(?![^>]* src=)/);
  for (const name of FILES.filter((name) => name.startsWith("views/"))) {
    assert.doesNotMatch(text(name), / style=| on\w+="/, name);
  }
});
