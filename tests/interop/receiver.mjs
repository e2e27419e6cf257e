// Usage: node receiver.mjs SIGNING_KEY
//
// A webhook endpoint on a free port of 127.0.0.1, which it prints. It answers a POST with 200 if
// its signature holds the way RelayBox checks it, else with 401, and GET /report with what it saw.
import { createServer } from "node:http";
import { canonicalize } from "json-canonicalize";
import { verify } from "./relaybox.mjs";

const [signingKey] = process.argv.slice(2);
const requests = [];

function check(headers, body) {
  const text = body.toString("utf8");
  const payload = JSON.parse(text);
  return {
    verified: verify(payload, headers["x-relaybox-webhook-signature"], signingKey),
    // The body must be the canonical text itself, byte for byte.
    canonical: Buffer.from(canonicalize(payload)).equals(body),
    webhookId: headers["x-relaybox-webhook-id"] ?? null,
    contentType: headers["content-type"] ?? null,
    userAgent: headers["user-agent"] ?? null,
    members: Object.keys(payload),
    id: payload.id,
    event: payload.event,
    // Milliseconds since the attempt was signed.
    age: Date.now() - Date.parse(payload.timestamp),
  };
}

function answer(response, status, value) {
  const body = JSON.stringify(value);
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(body),
  });
  response.end(body);
}

const server = createServer((request, response) => {
  if (request.method === "GET" && request.url === "/report") {
    const accepted = requests.filter((seen) => seen.verified).length;
    return answer(response, 200, { accepted, rejected: requests.length - accepted, requests });
  }
  if (request.method !== "POST") return answer(response, 405, {});
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    let seen;
    try {
      seen = check(request.headers, Buffer.concat(chunks));
    } catch (error) {
      seen = { verified: false, error: String(error) };
    }
    requests.push(seen);
    answer(response, seen.verified ? 200 : 401, { verified: seen.verified });
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
