/**
 * The part of a gate that is inside of a machine's network namespace: it listens where the machine may connect to and
 * hands what connects to its parent, and it connects to the machine's own programs what the parent hands to it.
 *
 * From the parent: `{ listen: [{ address, port }] }`, the whole list each time; `{ deliver: { address, port }, id }` with
 * a connection. To the parent: `{ took: id }`; `{ address, port }` with a connection; `{ listening: true }` when the list
 * is followed.
 */
"use strict";
const net = require("node:net");

const servers = new Map();

function key({ address, port }) {
  return `${address}:${port}`;
}

async function listen(places) {
  const wanted = new Map(places.map((place) => [key(place), place]));
  for (const [name, server] of servers) {
    if (wanted.has(name)) continue;
    servers.delete(name);
    server.close();
  }
  const added = [...wanted].filter(([name]) => !servers.has(name));
  await Promise.all(added.map(([name, place]) => open(name, place)));
  process.send({ listening: true });
}

function open(name, place) {
  const server = net.createServer({ pauseOnConnect: true }, (socket) => process.send(place, socket));
  servers.set(name, server);
  return new Promise((resolve) => {
    // A program of the machine has taken the place: then that is what the machine reaches.
    server.once("error", resolve);
    server.listen(place.port, place.address, resolve);
  });
}

function deliver({ address, port }, outside) {
  const inside = net.connect({ port, host: address, allowHalfOpen: true });
  outside.allowHalfOpen = true;
  const end = () => {
    inside.destroy();
    outside.destroy();
  };
  inside.on("error", end);
  outside.on("error", end);
  inside.pipe(outside);
  outside.pipe(inside);
  outside.resume();
}

process.on("message", (message, socket) => {
  if (message.listen !== undefined) void listen(message.listen);
  else {
    process.send({ took: message.id });
    if (socket !== undefined) deliver(message.deliver, socket);
  }
});
process.on("disconnect", () => process.exit());
