"use strict";

/* Every text from the mesh goes through textContent: names and values are not trusted. */
const element = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

const word = (name) => (/^[a-z-]+$/.test(name) ? name : "other");
const clock = (iso) => (iso ? new Date(iso).toLocaleTimeString() : "");

const fill = (id, nodes, otherwise) => {
  const place = document.getElementById(id);
  place.replaceChildren(...(nodes.length || !otherwise ? nodes : [element("p", "empty", otherwise)]));
};

const IN_WORDS = {
  drift: "in drift", unknown: "not yet known", unverifiable: "in part unverifiable",
  converging: "converging", "in-sync": "in sync",
};

const summary = ([verdict, count]) => {
  const item = element("li", word(verdict));
  item.append(element("b", "", String(count)), IN_WORDS[verdict] || verdict);
  return item;
};

const anomaly = (found) => {
  const article = element("article", word(found.severity));
  article.dataset.fingerprint = found.fingerprint;
  article.append(element("h3", "", found.title));
  const facts = [
    found.code, found.severity, `layer ${found.layer}`, found.resource,
    found.proxies.join(", "),
    `since ${clock(found.opened_at)}`,
  ];
  article.append(element("p", "facts", facts.filter(Boolean).join(" · ")));
  const table = element("table", "evidence");
  for (const each of found.evidence.slice(0, 10)) {
    const row = table.insertRow();
    row.append(element("td", "", each.key));
    row.append(element("td", "expected", `expected  ${each.expected || "nothing"}`));
    row.append(element("td", "observed", `observed  ${each.observed || "nothing"}`));
  }
  article.append(table);
  if (found.evidence.length > 10) {
    article.append(element("p", "facts", `and ${found.evidence.length - 10} more`));
  }
  if (found.repair) article.append(element("p", "", `Repair: ${found.repair}`));
  return article;
};

const proxy = (line) => {
  const row = element("tr");
  row.dataset.proxy = line.proxy;
  row.append(element("td", "", line.proxy));
  row.append(element("td", `verdict ${word(line.verdict)}`, line.verdict));
  row.append(element("td", "number", line.verdict === "unknown" ? "" : String(line.differences)));
  row.append(element("td", "number", line.verdict === "unknown" ? "" : String(line.policies)));
  row.append(element("td", "number", line.coverage));
  row.append(element("td", "", line.istio_version));
  const open = line.unverifiable.length ? `${line.unverifiable.length} not verifiable` : "";
  const codes = line.limits.map((limit) => limit.split(":")[0]);
  const said = [line.health, line.reason, open, ...codes].filter(Boolean);
  const notes = element("td", "", said.join("; "));
  notes.title = [...line.unverifiable, ...line.limits].join("\n");
  row.append(notes);
  row.append(element("td", "", clock(line.verified_at)));
  return row;
};

const resolved = (line) =>
  element("li", "", `${clock(line.opened_at)} – ${clock(line.resolved_at)}  ${line.title}`);

/* No anomaly is good news only where every proxy was verified. */
const nothingOpen = (proxies) => {
  if (!proxies.length) return "No proxy has reported yet.";
  const verified = proxies.filter((line) => line.verdict === "in-sync").length;
  return verified === proxies.length
    ? "None: every proxy holds what is declared."
    : `None open, but only ${verified} of ${proxies.length} proxies are known to be in sync.`;
};

const show = (data) => {
  const status = document.getElementById("connection");
  if (data.error) {
    status.textContent = data.error;
    status.className = "off";
    return;
  }
  status.textContent = `live, last change ${new Date().toLocaleTimeString()}`;
  status.className = "on";
  fill("summary", data.summary.map(summary));
  fill("anomalies", data.anomalies.map(anomaly), nothingOpen(data.proxies));
  fill("proxies", data.proxies.map(proxy));
  fill("resolved", data.resolved.map(resolved), "Nothing yet.");
};

const changes = new EventSource("/api/changes");
changes.onmessage = (event) => show(JSON.parse(event.data));
changes.onerror = () => {
  const status = document.getElementById("connection");
  status.textContent = "connection lost, trying again …";
  status.className = "off";
};
