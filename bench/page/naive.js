// What the page is compared with: all of it written anew from a whole document, every tick.

const socket = new WebSocket(new URL("ws", document.baseURI.replace("http", "ws")));
socket.onmessage = ({ data }) => {
  const fleet = JSON.parse(data);
  requestAnimationFrame(() => {
    document.getElementById("page").innerHTML = draw(fleet);
  });
};

const TOTALS = ["hosts", "gpus", "gpus_free", "gpus_busy", "memory_used_mib", "power_watts", "utilization_percent"];

function draw(fleet) {
  const users = Object.entries(fleet.users).map(
    ([name, user]) => `<tr><td>${text(name)}<td>${user.gpus}<td>${user.gpu_memory_mib}<td>${user.processes}`,
  );
  return `<p>${TOTALS.map((name) => `${name} ${fleet.totals[name]}`).join(", ")}</p>
    <table>${users.join("")}</table>${Object.entries(fleet.hosts).map(drawHost).join("")}`;
}

function drawHost([name, host]) {
  const { gpus = {}, processes = {}, system = {} } = host;
  const rows = (gpus.index ?? []).map((index, row) => {
    const used = gpus.memory_used_mib[row] / 1024;
    const share = (100 * gpus.memory_used_mib[row]) / gpus.memory_total_mib[row];
    const holders = (processes.gpu ?? []).flatMap((gpu, at) => (gpu === row ? [drawProcess(processes, at)] : []));
    return `<tr><td>${index}<td>${text(gpus.name[row])}<td>${gpus.use?.[row] ?? gpus.state[row]}
      <td>${gpus.utilization_percent[row]} %<td>${used.toFixed(1)} GiB <i class="bar" style="width:${share}px"></i>
      <td>${gpus.temperature_celsius[row]}°<td>${gpus.power_watts[row]} W<td>${holders.join("<br>")}`;
  });
  return `<h3>${text(name)} ${host.state}</h3><p>CPU ${system.cpu_percent} %, ${system.memory_used_mib} MiB</p>
    <table>${rows.join("")}</table>`;
}

function drawProcess(processes, at) {
  const hours = (Date.now() / 1000 - processes.started_at[at]) / 3600;
  return `${text(processes.user[at])} ${text(processes.command[at])} ${processes.pid[at]}
    ${hours.toFixed(1)} h ${processes.gpu_memory_mib[at]} MiB`;
}

function text(value) {
  return String(value).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
