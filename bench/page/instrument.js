// Runs in a page before its own scripts: times each message from its arrival until it is painted.
// A binding of the bench, benchPainted, is told.
{
  const HEARTBEAT_BYTES = 120;
  const Socket = WebSocket;
  const nextFrame = requestAnimationFrame.bind(window);
  const painted = new MessageChannel();
  let arrivedAt = null;
  let bytes = 0;
  let first = true;

  const tell = () => {
    if (arrivedAt === null) return;
    const at = performance.now();
    benchPainted(JSON.stringify({ at, took: at - arrivedAt, bytes }));
    arrivedAt = null;
  };
  // A task of its own: the frame that has just run its callbacks is laid out and painted first.
  painted.port1.onmessage = () => {
    // What is filled only when it comes into view needs another frame at the start.
    if (first) nextFrame(() => nextFrame(tell));
    else tell();
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
