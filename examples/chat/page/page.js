// The chat's page. All text from people is set as text, never as HTML.

const $ = (id) => document.getElementById(id);

const TYPING_ENDS = 3000; // ms without a key
const RETRY = { first: 500, most: 8000 }; // ms between attempts to connect again

const mine = { token: sessionStorage.getItem("token"), name: "", mood: "", typing: false };
const joined = new Set(); // rooms this tab is in, and goes back to after a lost connection
const logs = new Map();
const people = new Map();
const unread = new Map();
let rooms = [];
let current = null;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// The connection

let socket = null;
let retryIn = RETRY.first;
let lastRef = 0;
const waiting = new Map();

function connect() {
  socket = new WebSocket(new URL("socket", location.href.replace(/^http/, "ws")));
  socket.onopen = () => socket.send(JSON.stringify({ token: mine.token }));
  socket.onmessage = (frame) => {
    const message = JSON.parse(frame.data);
    receive[message.type](message);
  };
  socket.onclose = (closed) => {
    for (const { reject } of waiting.values()) reject(new Error("the connection was lost"));
    waiting.clear();
    if (!mine.token) return;
    if (closed.code === 4401) {
      signOut("Your session is over: sign in again.");
      return;
    }
    showTrouble("Connection lost, trying again …");
    setTimeout(connect, retryIn);
    retryIn = Math.min(retryIn * 2, RETRY.most);
  };
}

function ask(action, fields) {
  return new Promise((resolve, reject) => {
    if (socket.readyState !== WebSocket.OPEN) {
      reject(new Error("there is no connection"));
      return;
    }
    lastRef += 1;
    waiting.set(lastRef, { resolve, reject });
    socket.send(JSON.stringify({ do: action, ref: lastRef, ...fields }));
  });
}

/** Ask, and show a refusal instead of throwing it. Resolves to whether it was done. */
async function attempt(action, fields) {
  try {
    await ask(action, fields);
  } catch (error) {
    showTrouble(error.message);
    return false;
  }
  hideTrouble();
  return true;
}

const receive = {
  async welcome({ name, status }) {
    mine.name = name;
    retryIn = RETRY.first;
    hideTrouble();
    $("my-name").textContent = name;
    $("door").hidden = true;
    $("chat").hidden = $("me").hidden = false;
    if ($("status").value !== status) attempt("user:status:update", { status: $("status").value });
    const before = current;
    for (const roomId of [...joined]) await enter(roomId);
    if (joined.has(before)) open(before);
  },
  rooms(message) {
    rooms = message.rooms;
    showRooms();
  },
  left({ roomId }) {
    forget(roomId);
  },
  history({ roomId, messages }) {
    logs.set(roomId, messages);
    if (roomId === current) showLog();
  },
  message({ roomId, message }) {
    logs.get(roomId)?.push(message);
    if (roomId === current) {
      append(message);
    } else {
      unread.set(roomId, (unread.get(roomId) ?? 0) + 1);
      showRooms();
    }
  },
  people(message) {
    people.set(message.roomId, message.people);
    if (message.roomId === current) showPeople();
  },
  board(message) {
    $("board").replaceChildren(
      ...message.rooms.map((room) =>
        element("li", {}, element("span", { textContent: room.id }), ` ${room.messages}`),
      ),
    );
    $("no-board").hidden = message.rooms.length > 0;
  },
  done({ ref }) {
    waiting.get(ref)?.resolve();
    waiting.delete(ref);
  },
  refused({ ref, reason }) {
    waiting.get(ref)?.reject(new Error(reason));
    waiting.delete(ref);
  },
};

// Sign-up, verification, sign-in

let signingUp = true;

function want(signUp) {
  signingUp = signUp;
  $("want-sign-up").ariaSelected = String(signUp);
  $("want-sign-in").ariaSelected = String(!signUp);
  $("username-field").hidden = $("username").disabled = !signUp;
  $("enter").textContent = signUp ? "Sign up" : "Sign in";
  $("door-note").textContent = "";
}

function askForCode(asked) {
  $("verification").reset();
  $("verification").hidden = !asked;
  $("credentials").hidden = asked;
  if (asked) $("code").focus();
}

async function post(path, fields) {
  const response = await fetch(`auth/${path}`, { method: "POST", body: JSON.stringify(fields) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function onSubmit(form, action) {
  $(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await action();
    } catch (error) {
      $("door-note").textContent = error.message;
    }
  });
}

onSubmit("credentials", async () => {
  const [email, password] = [$("email").value, $("password").value];
  $("door-note").textContent = "";
  if (signingUp) {
    const { code } = await post("signup", { email, password, username: $("username").value });
    $("mail").textContent = `Mail to ${email}: your code is ${code}.`;
    askForCode(true);
    return;
  }
  const { token } = await post("signin", { email, password });
  mine.token = token;
  sessionStorage.setItem("token", token);
  connect();
});

onSubmit("verification", async () => {
  await post("verify", { email: $("email").value, code: $("code").value });
  askForCode(false);
  want(false);
  $("door-note").textContent = "Your address is verified. Now sign in.";
});

function signOut(note) {
  mine.token = null;
  sessionStorage.removeItem("token");
  socket?.close();
  for (const kept of [joined, logs, people, unread]) kept.clear();
  $("credentials").reset();
  $("status").value = "online";
  want(false);
  open(null);
  hideTrouble();
  $("chat").hidden = $("me").hidden = true;
  $("door").hidden = false;
  $("door-note").textContent = note;
}

$("want-sign-up").onclick = () => want(true);
$("want-sign-in").onclick = () => want(false);
$("back").onclick = () => askForCode(false);
$("sign-out").onclick = () => signOut("You are signed out.");

// Rooms

async function enter(roomId) {
  if (!(await attempt("room:join", { roomId }))) {
    forget(roomId);
    return;
  }
  joined.add(roomId);
  open(roomId);
  await attempt("presence:join", { roomId, userData: { mood: mine.mood, typing: false } });
}

function forget(roomId) {
  joined.delete(roomId);
  for (const kept of [logs, people, unread]) kept.delete(roomId);
  if (roomId === current) open(null);
}

function open(roomId) {
  if (roomId !== current) setTyping(false);
  current = roomId;
  unread.delete(roomId);
  $("room").hidden = $("company").hidden = roomId === null;
  $("nowhere").hidden = roomId !== null;
  showRooms();
  if (roomId === null) return;
  $("room-name").textContent = roomId;
  showLog();
  showPeople();
  $("body").focus();
}

$("create").addEventListener("submit", async (event) => {
  event.preventDefault();
  const roomId = $("new-room").value.trim();
  const visibility = $("private").checked ? "private" : "public";
  const there =
    event.submitter.name === "join" || (await attempt("room:create", { roomId, visibility }));
  if (!there) return;
  $("create").reset();
  await enter(roomId);
});

$("leave").onclick = () => attempt("room:leave", { roomId: current });
$("destroy").onclick = () => attempt("room:destroy", { roomId: current });

// Messages, presence, status

$("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [roomId, body] = [current, $("body").value];
  $("body").value = "";
  setTyping(false);
  await attempt("room:publish", { roomId, body });
});

let typingEnds = 0;

function setTyping(typing) {
  clearTimeout(typingEnds);
  if (typing) typingEnds = setTimeout(() => setTyping(false), TYPING_ENDS);
  if (typing === mine.typing) return;
  mine.typing = typing;
  if (joined.has(current)) updatePresence(current);
}

function updatePresence(roomId) {
  const typing = mine.typing && roomId === current;
  return attempt("presence:update", { roomId, userData: { mood: mine.mood, typing } });
}

$("body").oninput = () => setTyping($("body").value !== "");
$("mood").onchange = async () => {
  mine.mood = $("mood").value;
  for (const roomId of [...joined]) await updatePresence(roomId);
};
$("status").onchange = () => attempt("user:status:update", { status: $("status").value });

// Showing

function showRooms() {
  $("rooms").replaceChildren(
    ...rooms.map((room) => {
      const news = unread.get(room.id);
      const button = element(
        "button",
        { type: "button", className: "plain", ariaCurrent: String(room.id === current) },
        element("span", { className: "name", textContent: room.id }),
        element("span", { className: news ? "news" : "quiet", textContent: news ?? room.people }),
      );
      button.onclick = () => (joined.has(room.id) ? open(room.id) : enter(room.id));
      return element("li", {}, button);
    }),
  );
  $("no-rooms").hidden = rooms.length > 0;
  const here = rooms.find((room) => room.id === current);
  $("destroy").hidden = !here?.mine;
  $("unlisted").hidden = here?.visibility !== "private";
}

function showLog() {
  $("log").replaceChildren();
  for (const message of logs.get(current) ?? []) append(message);
}

function append(message) {
  const time = new Date(message.timestamp);
  const shown = time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const line = element(
    "li",
    { className: message.from === mine.name ? "mine" : "" },
    element("strong", { textContent: message.from }),
    element("time", { dateTime: message.timestamp, textContent: shown }),
    element("p", { className: "body", textContent: message.body }),
  );
  $("log").append(line);
  $("log").scrollTop = $("log").scrollHeight;
}

function showPeople() {
  const here = people.get(current) ?? [];
  $("people").replaceChildren(
    ...here.map((person) =>
      element(
        "li",
        { title: person.status },
        element("span", { className: `dot ${person.status}` }),
        element("span", { className: "name", textContent: person.name }),
        element("span", { className: "quiet", textContent: person.status }),
        element("span", { textContent: person.userData?.mood ?? "" }),
      ),
    ),
  );
  const typing = here.filter((person) => person.userData?.typing && person.name !== mine.name);
  const names = typing.map((person) => person.name).join(", ");
  $("typing").textContent = names && `${names} ${typing.length > 1 ? "are" : "is"} typing …`;
}

function showTrouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = false;
}

function hideTrouble() {
  $("trouble").hidden = true;
}

if (mine.token) connect();
