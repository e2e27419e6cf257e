// RelayBox's signature, computed independently of the Python library.
import { createHmac, timingSafeEqual } from "node:crypto";
import { canonicalize } from "json-canonicalize";

export function sign(payload, signingKey) {
  const stringToSign = JSON.stringify(canonicalize(payload));
  return createHmac("sha256", signingKey).update(stringToSign).digest("hex");
}

export function verify(payload, signature, signingKey) {
  const expected = Buffer.from(sign(payload, signingKey));
  const given = Buffer.from(String(signature));
  return expected.length === given.length && timingSafeEqual(expected, given);
}
