"use strict";
// The page of a door's OpenAPI document: find an operation, read what it takes and answers, try it.
// Text only ever becomes text nodes; the token lives in a variable and nowhere else.

const byId = (id) => document.getElementById(id);
const LARGE = 200000; // characters that are still coloured
let spec = null;
let token = "";
let operations = [];

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== ""));
  return made;
}

// `code` in descriptions
function prose(text) {
  return (text || "").split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part));
}

function resolve(schema) {
  while (schema && schema.$ref) schema = spec.components.schemas[schema.$ref.split("/").pop()];
  return schema || {};
}

// -- schemas --

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  const options = schema.anyOf || schema.oneOf;
  if (options) return options.map(typeOf).join(" | ");
  if (schema.type === "array") return typeOf(schema.items || {}) + "[]";
  if (schema.type === "object" && schema.additionalProperties && !schema.properties) {
    return "{name: " + (schema.additionalProperties === true ? "any" : typeOf(schema.additionalProperties)) + "}";
  }
  return Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type || "any JSON";
}

const BOUNDS = { minimum: "≥", maximum: "≤", minLength: "length ≥", maxLength: "length ≤", minItems: "entries ≥", maxItems: "entries ≤", pattern: "pattern", format: "" };

function bounds(schema) {
  return Object.entries(BOUNDS).filter(([name]) => name in schema).map(([name, sign]) => `${sign} ${schema[name]}`.trim()).join(", ");
}

function inner(schema) {
  const target = resolve(schema);
  if (target.properties) return target;
  for (const each of [target.items, ...(target.anyOf || target.oneOf || []), typeof target.additionalProperties === "object" && target.additionalProperties]) {
    const found = each && inner(each);
    if (found) return found;
  }
  return null;
}

function members(schema) {
  const list = el("ul");
  const needed = new Set(schema.required || []);
  for (const [name, member] of Object.entries(schema.properties)) {
    const more = [bounds(member), "default" in member ? `default ${JSON.stringify(member.default)}` : ""].filter(Boolean).join(", ");
    const line = [el("code", {}, name), needed.has(name) ? el("span", { class: "need", title: "required" }, "*") : "", " ",
      el("span", { class: "soft" }, typeOf(member), more ? ` (${more})` : "", member.description ? ` – ${member.description}` : "")];
    const below = inner(member);
    if (!below) { list.append(el("li", {}, ...line)); continue; }
    const folded = el("details", { ontoggle: () => { if (folded.open && folded.children.length === 1) folded.append(members(below)); } }, el("summary", {}, ...line));
    list.append(el("li", {}, folded));
  }
  return list;
}

function tree(schema) {
  const target = inner(schema);
  return el("div", { class: "tree" }, el("p", { class: "soft" }, typeOf(schema)), target ? members(target) : "");
}

// -- values --

const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d[\d.eE+-]*)|\b(true|false|null)\b/g;

function coloured(text) {
  const shown = el("pre", { tabindex: "0" });
  if (text.length > LARGE) { shown.textContent = text.slice(0, 5 * LARGE) + (text.length > 5 * LARGE ? "\n… (cut here)" : ""); return shown; }
  let last = 0;
  for (const found of text.matchAll(TOKENS)) {
    const kind = found[2] ? "k" : found[1] ? "s" : found[3] ? "n" : "w";
    shown.append(text.slice(last, found.index), el("span", { class: kind }, found[1] || found[0]));
    if (found[2]) shown.append(found[2]);
    last = found.index + found[0].length;
  }
  shown.append(text.slice(last));
  return shown;
}

const pretty = (value) => JSON.stringify(value, null, 2);

function examplesOf(media) {
  if (media.examples) return Object.entries(media.examples).map(([name, each]) => [name, each.value]);
  return "example" in media ? [["example", media.example]] : [];
}

async function copy(button, text) {
  try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "Not copied"; }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

// -- one operation --

function describeAnswers(operation) {
  const rows = Object.entries(operation.responses).map(([status, answer]) => {
    const media = Object.values(answer.content || {})[0];
    const parts = [el("p", {}, prose(answer.description))];
    if (media && Object.keys(media.schema || {}).length) {
      const folded = el("details", { ontoggle: () => {
        if (!folded.open || folded.children.length > 1) return;
        for (const [name, value] of examplesOf(media)) folded.append(el("h3", {}, name), coloured(pretty(value)));
        folded.append(el("h3", {}, "schema"), tree(media.schema));
      } }, el("summary", { class: "soft" }, typeOf(media.schema)));
      parts.push(folded);
    }
    for (const [name, header] of Object.entries(answer.headers || {})) parts.push(el("p", {}, el("code", {}, name), " ", prose(header.description)));
    return el("tr", {}, el("td", {}, el("span", { class: "status " + (status < 400 ? "good" : "bad") }, status)), el("td", {}, parts));
  });
  return el("table", {}, el("tbody", {}, rows));
}

function parameterRow(form, parameter) {
  const id = `${form.id}.${parameter.in}.${parameter.name}`;
  const map = parameter.name.endsWith(".NAME");
  const options = resolve(parameter.schema);
  const choices = options.enum || (options.items && options.items.enum) || (options.type === "boolean" && [true, false]);
  const input = choices && options.type !== "array"
    ? el("select", { id }, el("option", { value: "" }, ""), choices.map((each) => el("option", {}, String(each))))
    : el("input", { id, autocomplete: "off", spellcheck: "false", placeholder: map ? "NAME=value, …" : options.type === "array" ? "one, another" : "" });
  if (parameter.in === "path" && parameter.example != null) input.placeholder = String(parameter.example);
  form.fields.push({ parameter, input, map, many: options.type === "array" });
  const note = [typeOf(parameter.schema), bounds(options), "default" in options && options.default !== null ? `default ${JSON.stringify(options.default)}` : ""].filter(Boolean).join(", ");
  return el("tr", {}, el("td", {}, el("label", { for: id }, el("code", {}, parameter.name), parameter.required ? el("span", { class: "need", title: "required" }, "*") : ""), el("p", {}, parameter.in)),
    el("td", {}, input), el("td", {}, el("p", {}, note), el("p", {}, prose(parameter.description))));
}

function bodyPart(form, body) {
  const kinds = Object.keys(body.content);
  const kind = kinds.find((each) => each === "application/json") || kinds[0];
  const chosen = el("select", { "aria-label": "Content type" }, kinds.map((each) => el("option", { selected: each === kind }, each)));
  const text = el("textarea", { "aria-label": "Body", spellcheck: "false", rows: "8" });
  const file = el("input", { type: "file", "aria-label": "File" });
  const shown = examplesOf(body.content[kind]);
  const names = el("select", { "aria-label": "Example", hidden: shown.length < 2 }, shown.map(([name]) => el("option", {}, name)));
  const fill = () => { const found = shown[names.selectedIndex < 0 ? 0 : names.selectedIndex]; text.value = found ? pretty(found[1]) : ""; form.tell(); };
  const show = () => { const isFile = chosen.value === "multipart/form-data" || chosen.value === "*/*"; file.hidden = !isFile; text.hidden = isFile; form.tell(); };
  form.body = { chosen, text, file, isFile: () => !file.hidden };
  for (const each of [chosen, file]) each.addEventListener("change", show);
  names.addEventListener("change", fill);
  const media = body.content[kind];
  const schema = el("details", { ontoggle: () => { if (schema.open && schema.children.length === 1) schema.append(tree(media.schema)); } }, el("summary", {}, "Schema"));
  const made = [el("h3", {}, "Body", body.required ? el("span", { class: "need", title: "required" }, "*") : ""), el("div", { class: "row" }, chosen, names), text, file, Object.keys(media.schema).length ? schema : ""];
  form.ready = () => { fill(); show(); };
  return made;
}

function requestOf(form) {
  let path = form.op.path;
  const query = new URLSearchParams();
  const headers = {};
  let wrong = null;
  for (const { parameter, input, map, many } of form.fields) {
    const value = input.value.trim();
    input.setAttribute("aria-invalid", String(parameter.required && !value));
    if (!value) { if (parameter.required) wrong = wrong || input; if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, `{${parameter.name}}`); continue; }
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (parameter.in === "header") headers[parameter.name] = value;
    else if (map) for (const pair of value.split(",")) { const [name, ...rest] = pair.trim().split("="); query.append(parameter.name.replace(/NAME$/, name), rest.join("=")); }
    else for (const each of many ? value.split(",") : [value]) query.append(parameter.name, each.trim());
  }
  const text = query.toString();
  const made = { method: form.op.method, url: location.origin + path + (text ? "?" + text : ""), headers, body: null, wrong };
  if (form.body) {
    const file = form.body.file.files[0];
    if (form.body.isFile()) {
      made.file = file || null;
      if (form.body.chosen.value === "multipart/form-data") { made.body = new FormData(); if (file) made.body.append("file", file); }
      else { made.body = file || ""; headers["Content-Type"] = (file && file.type) || "application/octet-stream"; }
    } else if (form.body.text.value.trim()) {
      made.body = form.body.text.value;
      headers["Content-Type"] = form.body.chosen.value;
      if (headers["Content-Type"] === "application/x-www-form-urlencoded") {
        try { made.body = new URLSearchParams(JSON.parse(made.body)).toString(); } catch { /* it is written as a form already */ }
      }
    }
  }
  return made;
}

function curlOf(form) {
  const request = requestOf(form);
  const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";
  const parts = [`curl ${request.method === "GET" ? "" : `-X ${request.method} `}${quoted(request.url)}`];
  if (form.op.operation.security.length) parts.push('-H "Authorization: Bearer $TOKEN"');
  for (const [name, value] of Object.entries(request.headers)) parts.push("-H " + quoted(`${name}: ${value}`));
  if (request.body instanceof FormData) parts.push("-F " + quoted("file=@" + (request.file ? request.file.name : "FILE")));
  else if (form.body && form.body.isFile()) parts.push("--data-binary " + quoted("@" + (request.file ? request.file.name : "FILE")));
  else if (request.body) parts.push("--data-binary " + quoted(request.body));
  return parts.join(" \\\n  ");
}

async function send(form) {
  const request = requestOf(form);
  if (request.wrong) { request.wrong.focus(); form.answer.replaceChildren(el("p", { role: "alert" }, "Something that is required is missing.")); return; }
  if (token && form.op.operation.security.length) request.headers.Authorization = "Bearer " + token;
  const stop = new AbortController();
  form.stop.hidden = false;
  form.stop.onclick = () => stop.abort();
  form.answer.replaceChildren(el("p", { class: "soft" }, "Waiting for the answer …"));
  const began = performance.now();
  try {
    const response = await fetch(request.url, { method: request.method, headers: request.headers, body: request.body, signal: stop.signal, credentials: "omit", cache: "no-store" });
    await showAnswer(form, response, began);
  } catch (error) {
    if (stop.signal.aborted) form.answer.append(el("p", { class: "soft" }, "Stopped."));
    else form.answer.replaceChildren(el("p", { role: "alert" }, "No answer: " + error.message));
  } finally { form.stop.hidden = true; }
}

async function showAnswer(form, response, began) {
  const kind = (response.headers.get("content-type") || "").split(";")[0];
  const head = el("div", { class: "row" }, el("span", { class: "status " + (response.ok ? "good" : "bad") }, `${response.status} ${response.statusText}`));
  const headers = el("details", {}, el("summary", { class: "soft" }, "Headers"), el("pre", {}, [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n")));
  form.answer.replaceChildren(head, headers);
  if (response.status === 401) head.append(el("button", { type: "button", onclick: openSign }, "Sign in"));
  if (kind === "text/event-stream") {
    const shown = el("pre", { tabindex: "0" });
    form.answer.append(shown);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) { shown.append(part.value); shown.scrollTop = shown.scrollHeight; }
    return;
  }
  const attached = /attachment/.test(response.headers.get("content-disposition") || "");
  const blob = await response.blob();
  head.append(el("span", { class: "soft" }, `${Math.round(performance.now() - began)} ms, ${blob.size.toLocaleString("en")} bytes`));
  if (!blob.size) return;
  if (!attached && /json$/.test(kind)) {
    const text = await blob.text();
    let value;
    try { value = pretty(JSON.parse(text)); } catch { value = text; }
    const button = el("button", { type: "button", onclick: () => copy(button, value) }, "Copy");
    head.append(button);
    form.answer.append(coloured(value));
  } else if (!attached && kind.startsWith("text/")) form.answer.append(el("pre", { tabindex: "0" }, await blob.text()));
  else {
    const name = decodeURIComponent((/filename\*=UTF-8''([^;]+)/.exec(response.headers.get("content-disposition") || "") || [])[1] || "answer");
    form.answer.append(el("p", {}, el("a", { href: URL.createObjectURL(blob), download: name }, `Save ${name}`)));
  }
}

function fill(op) {
  const { operation } = op;
  const form = { id: operation.operationId, op, fields: [], body: null, tell: () => {}, ready: () => {} };
  const curl = el("pre", { class: "curl", tabindex: "0" });
  form.answer = el("div", { "aria-live": "polite", class: "answer" });
  form.stop = el("button", { type: "button", hidden: true }, "Stop");
  const parts = [];
  if (operation.description) parts.push(el("p", {}, prose(operation.description)));
  if (operation.parameters) parts.push(el("h3", {}, "Parameters"), el("table", {}, el("tbody", {}, operation.parameters.map((each) => parameterRow(form, each)))));
  if (operation.requestBody) parts.push(...bodyPart(form, operation.requestBody));
  const button = el("button", { type: "button", onclick: () => copy(button, curl.textContent) }, "Copy");
  const tried = el("form", { novalidate: true, onsubmit: (event) => { event.preventDefault(); send(form); } }, parts,
    el("div", { class: "row" }, el("button", { type: "submit", class: "do" }, "Send"), form.stop, el("span", { class: "soft keys" }, "Ctrl + Enter")),
    form.answer, el("div", { class: "row" }, el("h3", {}, "curl"), button), curl);
  tried.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); tried.requestSubmit(); } });
  form.tell = () => { curl.textContent = curlOf(form); for (const { input } of form.fields) input.removeAttribute("aria-invalid"); };
  tried.addEventListener("input", form.tell);
  tried.addEventListener("change", form.tell);
  op.section.append(el("div", {}, tried, el("h3", {}, "Answers"), describeAnswers(operation)));
  form.ready();
  form.tell();
}

// -- the whole --

function show(op, scroll) {
  op.section.open = true;
  if (scroll) { op.section.scrollIntoView(); op.section.querySelector("summary").focus({ preventScroll: true }); }
}

function lay() {
  byId("title").replaceChildren(spec.info.title + " ", el("small", {}, spec.info.version));
  document.title = spec.info.title;
  byId("about").append(el("p", {}, prose(spec.info.description)), el("p", { class: "soft" }, "This page is made from ", el("a", { href: "openapi.json" }, "openapi.json"), ", the OpenAPI document that other tools read."));
  const topics = new Map(spec.tags.map((tag) => [tag.name, { tag, operations: [] }]));
  for (const [path, methods] of Object.entries(spec.paths)) for (const [method, operation] of Object.entries(methods)) {
    const name = (operation.tags || ["Other"])[0];
    if (!topics.has(name)) topics.set(name, { tag: { name }, operations: [] });
    topics.get(name).operations.push({ path, method: method.toUpperCase(), operation });
  }
  for (const topic of topics.values()) {
    const anchor = "topic-" + topic.tag.name.replace(/\W+/g, "-");
    const heading = el("div", {}, el("h2", { id: anchor }, topic.tag.name), topic.tag.description ? el("p", { class: "soft" }, prose(topic.tag.description)) : "");
    const links = el("div", {}, el("h2", {}, el("a", { href: "#" + anchor }, topic.tag.name)));
    topic.group = el("section", { "aria-labelledby": anchor }, heading);
    for (const op of topic.operations) {
      const { operation } = op, summary = operation.summary.replaceAll("`", "");
      const verb = () => el("span", { class: "verb " + op.method }, op.method);
      op.section = el("details", { class: "op", id: operation.operationId, ontoggle: () => {
        if (!op.section.open) return;
        if (op.section.children.length === 1) fill(op);
        history.replaceState(null, "", "#" + operation.operationId);
      } }, el("summary", {}, verb(), el("code", {}, op.path), el("span", { class: "text" }, summary), operation.security.length ? "" : el("span", { class: "lock" }, "no credential")));
      op.link = el("a", { href: "#" + operation.operationId, title: summary }, verb(), el("span", {}, summary));
      op.text = [op.path, op.method, operation.operationId, operation.summary, operation.description, topic.tag.name].join(" ").toLowerCase();
      op.topic = topic;
      topic.group.append(op.section);
      links.append(op.link);
      operations.push(op);
    }
    topic.links = links;
    byId("main").append(topic.group);
    byId("topics").append(links);
  }
}

function search() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const op of operations) {
    const fits = words.every((word) => op.text.includes(word));
    op.section.hidden = op.link.hidden = !fits;
    count += fits;
  }
  for (const topic of new Set(operations.map((op) => op.topic))) topic.group.hidden = topic.links.hidden = topic.operations.every((op) => op.section.hidden);
  byId("found").textContent = words.length ? `${count} of ${operations.length}` : "";
}

function follow() {
  const op = operations.find((each) => "#" + each.operation.operationId === decodeURIComponent(location.hash));
  if (op) show(op, true);
  for (const each of operations) each.link.toggleAttribute("aria-current", each === op);
}

function openSign() { byId("sign-trouble").textContent = ""; byId("sign-out").hidden = !token; byId("sign").showModal(); byId("token").focus(); }

const operationOf = (id) => operations.find((each) => each.operation.operationId === id);

async function signIn(event) {
  event.preventDefault();
  const trouble = byId("sign-trouble");
  trouble.textContent = "";
  let given = byId("token").value.trim();
  try {
    if (!given) {
      const name = byId("name").value.trim();
      const secret = byId("secret").value;
      const grant = name.includes("@") ? { grant_type: "password", username: name, password: secret } : { grant_type: "client_credentials", client_id: name, client_secret: secret };
      const answer = await fetch(operationOf("createToken").path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(grant), credentials: "omit" });
      const body = await answer.json();
      if (!answer.ok) throw new Error(body.detail || answer.statusText);
      given = body.access_token;
    }
    let who = "Signed in";
    const me = operationOf("getMe");
    if (me) {
      const answer = await fetch(me.path, { headers: { Authorization: "Bearer " + given }, credentials: "omit" });
      const body = await answer.json();
      if (!answer.ok) throw new Error(body.detail || answer.statusText);
      who = body.principal;
    }
    token = given;
    byId("who").textContent = who;
    byId("sign-form").reset();
    byId("sign").close();
  } catch (error) { trouble.textContent = error.message; }
}

function signOut() { token = ""; byId("who").textContent = "Sign in"; byId("sign-form").reset(); byId("sign").close(); }

function keys(event) {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); byId("search").focus(); byId("search").select(); }
  else if (event.target === byId("search") && event.key === "Escape") { byId("search").value = ""; search(); }
  else if (event.target === byId("search") && event.key === "Enter") {
    event.preventDefault(); // or the summary that gets the focus would take the key, and close
    const first = operations.find((op) => !op.section.hidden);
    if (first) show(first, true);
  }
  else if (event.target.tagName === "SUMMARY" && event.target.parentElement.classList.contains("op") && /^Arrow(Up|Down)$/.test(event.key)) {
    const shown = operations.filter((op) => !op.section.hidden);
    const next = shown[shown.findIndex((op) => op.section === event.target.parentElement) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) { event.preventDefault(); next.section.querySelector("summary").focus(); }
  }
}

async function begin() {
  try { spec = await (await fetch("openapi.json", { credentials: "omit" })).json(); } catch (error) {
    byId("about").append(el("p", { role: "alert" }, "openapi.json cannot be read: " + error.message));
    return;
  }
  lay();
  byId("grant").hidden = !operationOf("createToken");
  byId("who").addEventListener("click", openSign);
  byId("sign-form").addEventListener("submit", signIn);
  byId("sign-out").addEventListener("click", signOut);
  byId("sign-close").addEventListener("click", () => byId("sign").close());
  byId("search").addEventListener("input", search);
  document.addEventListener("keydown", keys);
  addEventListener("hashchange", follow);
  follow();
  document.body.dataset.ready = "yes";
}

begin();
