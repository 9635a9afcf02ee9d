// The senders' JavaScript libraries as oracles: reads vectors from standard input, writes those that the libraries
// believe, and what they sign themselves where they can. `npm i @linear/sdk @notionhq/client @octokit/webhooks-methods
// @shopify/shopify-api sns-validator @zoom/rivet twitter-autohook mailgun-js
// @hookflo/tern @sanity/webhook @mux/mux-node` in the folder that NODE_ORACLES names.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { EventEmitter } from "node:events";
import https from "node:https";
import path from "node:path";

const folder = process.env.NODE_ORACLES;
const require = createRequire(path.join(folder, "index.js"));
const inside = (name) => require(path.join(folder, "node_modules", name));
const packageOf = (name) => `${name} ${JSON.parse(readFileSync(path.join(folder, "node_modules", name, "package.json"))).version}`;
const octokit = () => import(path.join(folder, "node_modules/@octokit/webhooks-methods/dist-node/index.js"));
const header = (vector, name) => vector.headers[name];

const oracles = {
  github: {
    package: "@octokit/webhooks-methods",
    believes: async (v) => (await octokit()).verify(v.secret, v.body, header(v, "X-Hub-Signature-256")),
    signs: async (v) => ({ "X-Hub-Signature-256": await (await octokit()).sign(v.secret, v.body) }),
  },
  notion: {
    package: "@notionhq/client",
    believes: (v) =>
      require("@notionhq/client").verifyWebhookSignature({ body: v.body, signature: header(v, "X-Notion-Signature"), verificationToken: v.secret }),
    signs: async (v) => ({ "X-Notion-Signature": await require("@notionhq/client").signWebhookPayload({ body: v.body, verificationToken: v.secret }) }),
  },
  linear: {
    package: "@linear/sdk",
    believes: async (v) => {
      const { LinearWebhookClient } = await import(path.join(folder, "node_modules/@linear/sdk/dist/webhooks/index.mjs"));
      const body = JSON.parse(v.body);
      return new LinearWebhookClient(v.secret).verify(Buffer.from(v.body), header(v, "Linear-Signature"), body.webhookTimestamp);
    },
  },
  shopify: {
    package: "@shopify/shopify-api",
    believes: async (v) => {
      require("@shopify/shopify-api/adapters/node");
      const { validateHmacString } = inside("@shopify/shopify-api/dist/cjs/lib/utils/hmac-validator.js");
      return validateHmacString({ apiSecretKey: v.secret }, v.body, header(v, "X-Shopify-Hmac-SHA256"), "base64");
    },
  },
  zoom: {
    package: "@zoom/rivet",
    believes: async (v) => {
      const { AwsLambdaReceiver } = await import(path.join(folder, "node_modules/@zoom/rivet/users/users.mjs"));
      console.debug = () => {};
      const receiver = new AwsLambdaReceiver({ webhooksSecretToken: v.secret });
      receiver.init({ eventEmitter: { emit: async () => {} } });
      const answer = await receiver.start()({ headers: v.headers, body: v.body, isBase64Encoded: false }, {});
      return answer.statusCode === 200 || answer.body;
    },
  },
  "aws-sns": {
    package: "sns-validator",
    believes: (v) => {
      https.get = (_options, answered) => {
        const response = new EventEmitter();
        response.statusCode = 200;
        process.nextTick(() => {
          answered(response);
          response.emit("data", Object.values(v.certificates)[0]);
          response.emit("end");
        });
        return new EventEmitter();
      };
      const Validator = require("sns-validator");
      return new Promise((resolve) => new Validator().validate(v.body, (fault) => resolve(fault ? `${fault}` : true)));
    },
  },
};

oracles.x = {
  package: "twitter-autohook",
  believes: (v) => {
    // the library exports its server only, so its own file is read for the function that verifies
    const source = readFileSync(path.join(folder, "node_modules/twitter-autohook/index.js"), "utf8");
    const body = source.slice(source.indexOf("const validateSignature"), source.indexOf("const verifyCredentials"));
    const validate = new Function("crypto", `${body}; return validateSignature;`)(require("node:crypto"));
    const headers = Object.fromEntries(Object.entries(v.headers).map(([name, value]) => [name.toLowerCase(), value]));
    return validate(headers, { consumer_secret: v.secret }, v.body);
  },
};
oracles.mailgun = {
  package: "mailgun-js",
  believes: (v) => {
    const { timestamp, token, signature } = JSON.parse(v.body).signature;
    return require("mailgun-js")({ apiKey: v.secret, domain: "x.test" }).validateWebhook(timestamp, token, signature);
  },
};
oracles.sentry = {
  package: "@hookflo/tern",
  believes: async (v) => {
    const headers = { ...v.headers, "Sentry-Hook-Timestamp": String(Math.floor(Date.now() / 1000)) };
    const request = new Request(v.url, { method: "POST", headers, body: v.body });
    const verdict = await require("@hookflo/tern").WebhookVerificationService.verifyWithPlatformConfig(request, "sentry", v.secret);
    return verdict.isValid || JSON.stringify(verdict);
  },
};
const sanity = () => import(path.join(folder, "node_modules/@sanity/webhook/dist/index.mjs"));
oracles.sanity = {
  package: "@sanity/webhook",
  believes: async (v) => (await sanity()).isValidSignature(v.body, header(v, "sanity-webhook-signature"), v.secret),
  signs: async (v) => ({ "sanity-webhook-signature": await (await sanity()).encodeSignatureHeader(v.body, v.now * 1000, v.secret) }),
};
oracles.mux = {
  package: "@mux/mux-node",
  believes: async (v) => {
    const { Mux } = require("@mux/mux-node");
    const mux = new Mux({ tokenId: "a", tokenSecret: "b", webhookSecret: v.secret });
    await mux.webhooks.verifySignature(v.body, { "mux-signature": header(v, "Mux-Signature") }, v.secret);
    return true;
  },
};

const told = [];
for (const vector of JSON.parse(readFileSync(0))) {
  const oracle = oracles[vector.preset];
  const believed = await Promise.resolve(oracle.believes(vector)).catch((fault) => `${fault.stack}`);
  const headers = oracle.signs ? await oracle.signs(vector) : null;
  told.push({ preset: vector.preset, package: packageOf(oracle.package), believed, headers });
}
console.log(JSON.stringify(told));
