// The help dialog: what the search box understands, what each key does, what the viewer's role shows.

import { html, render } from "../vendor/lit-html.js";
import { KEYS } from "../keyboard.js";
import { STATE_WORDS } from "../state/states.js";

/** @import { Role } from "../types.js" */

/** What the search box understands. @type {[string, string][]} */
const QUERY_HELP = [
  ["alice train.py", "plain words match host, user, group, command, model, job, container, finding"],
  ["user:alice model:H100", "also group, host, job, container, command, pid; exact match for host, user, group, job, pid; user~ali matches part"],
  ["state:held_idle", STATE_WORDS.join(", ")],
  ["finding:any", "GPUs and hosts with a finding; also finding:critical, warning or info, or a kind such as xid, disk_full"],
  ["util<5 free>=40", "also mem, temp, power, gpus (of the host); GiB, °C, W"],
  ['-user:bob "two words"', "- excludes, \"…\" keeps words together"],
];

/** What the page calls free; docs/protocol.md has the rule in full. */
const FREE_HELP = "A job can start: no compute process, little memory in use, and a utilization under 5 % for 30 seconds. A GPU whose "
  + "processes, utilization or memory is not known is not free, nor is one that has failed, is in MIG mode without slices, or whose compute "
  + "mode keeps others out: its row and the title of its cell say why. A degraded GPU is offered last, with a mark.";

/** What each role can see. */
const VISIBLE = {
  counts: "neither users nor commands",
  names: "users, but no commands",
  commands: "everything",
};

/**
 * Opens the help, or closes it when it is open.
 * @param {HTMLDialogElement} dialog
 * @param {Role} role of the viewer
 */
export function toggleHelp(dialog, role) {
  if (dialog.open) return dialog.close();
  render(html`<h2>Search</h2><dl class="queries">${QUERY_HELP.map(line("code"))}</dl>
    <h2>Keys</h2><dl>${Object.entries(KEYS).map(line("kbd"))}</dl>
    <h2>Free</h2><p>${FREE_HELP}</p>
    <p class="sub">Your role: you can see ${VISIBLE[role]}.</p>
    <form method="dialog"><button class="plain">Close</button></form>`, dialog);
  dialog.showModal();
}

/** @param {"code" | "kbd"} kind of what is explained */
function line(kind) {
  return (/** @type {[string, string]} */ [what, words]) => html`<div><dt>${kind === "kbd"
    ? html`<kbd>${what}</kbd>`
    : html`<code>${what}</code>`}</dt><dd>${words}</dd></div>`;
}
