// Runs in a page before its own scripts: measures each message from arrival until it is painted,
// and reports it through the binding benchPainted.
{
  const HEARTBEAT_BYTES = 120;
  const Socket = WebSocket;
  const nextFrame = requestAnimationFrame.bind(window);
  const painted = new MessageChannel();
  let arrivedAt = null;
  let bytes = 0;
  let first = true;

  const report = () => {
    if (arrivedAt === null) return;
    const at = performance.now();
    benchPainted(JSON.stringify({ at, took: at - arrivedAt, bytes }));
    arrivedAt = null;
  };
  // In a task of its own, which runs after the current frame has been laid out and painted.
  painted.port1.onmessage = () => {
    // Rows that are filled when they come into view need another frame at the start.
    if (first) nextFrame(() => nextFrame(report));
    else report();
    first = false;
  };

  window.WebSocket = class extends Socket {
    constructor(...options) {
      super(...options);
      this.addEventListener("message", ({ data }) => {
        const size = data.byteLength ?? data.length;
        if (size <= HEARTBEAT_BYTES) return;
        arrivedAt ??= performance.now();
        bytes = size;
      });
    }
  };
  window.requestAnimationFrame = (run) =>
    nextFrame((time) => {
      run(time);
      if (arrivedAt !== null) painted.port2.postMessage(null);
    });
}
