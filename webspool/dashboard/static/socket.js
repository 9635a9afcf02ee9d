// One socket a page, opened when it is first needed. Each question has one answer, which may take its time;
// without a socket the page asks by plain requests, as it always could.
import { io } from "./vendor/socket.io.esm.min.js";

const PATIENCE_MS = 40000;
const OPENING_MS = 3000;

let socket = null;

function opened() {
  socket ??= io({ path: "/live/ws", transports: ["websocket"], reconnectionDelay: 500, reconnectionDelayMax: 5000 });
  return socket;
}

export function isConnected() {
  return socket?.connected ?? false;
}

// Calls back whenever the connection comes or goes.
export function whenConnection(changes) {
  opened().on("connect", () => changes(true));
  opened().on("disconnect", () => changes(false));
}

// Resolves once there is a connection, or after a while without one.
export function settled() {
  if (opened().connected) return Promise.resolve();
  return new Promise((go) => {
    socket.once("connect", go);
    setTimeout(go, OPENING_MS);
  });
}

// The answer to a question; an Error when the connection breaks or the answer is a fault.
export function ask(question, about) {
  return new Promise((answer, fail) => {
    const lost = () => fail(new Error("disconnected"));
    opened().once("disconnect", lost);
    opened().timeout(PATIENCE_MS).emit(question, about, (late, told) => {
      socket.off("disconnect", lost);
      if (late) fail(late);
      else if (told.fault) fail(Object.assign(new Error(told.detail), { fault: told.fault }));
      else answer(told);
    });
  });
}
