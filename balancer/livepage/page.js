"use strict";
// The page asks for its own address each second and draws what it gets. Whatever
// comes from outside is put into the page as text, never as markup.
(() => {
  const period = 1000, kept = 120, charted = 8;
  const main = document.getElementById("main"), live = document.getElementById("live");
  const colours = ["#4c78d8", "#e0803a", "#3aa57a", "#b25fc4", "#c9a227", "#d0527d", "#4aa8c0", "#8a7a66"];
  const others = "#8c95a1";
  const history = new Map(); // of each balancer, by target, adapter, client and number

  const make = (tag, options = {}, ...children) => {
    const e = document.createElement(tag);
    for (const [name, value] of Object.entries(options)) {
      if (name === "text") e.textContent = value;
      else if (name === "class") e.className = value;
      else e.setAttribute(name, value);
    }
    e.append(...children.filter(c => c));
    return e;
  };
  const draw = (tag, attributes, ...children) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    e.append(...children);
    return e;
  };

  const count = n => n.toLocaleString("en");
  const span = s => s < 0 ? "never" : s < 0.001 ? (s * 1e6).toFixed(0) + " µs" : s < 1 ? (s * 1e3).toFixed(s < 0.01 ? 1 : 0) + " ms" :
    s < 90 ? s.toFixed(s < 10 ? 1 : 0) + " s" : s < 5400 ? (s / 60).toFixed(0) + " min" : (s / 3600).toFixed(1) + " h";
  const percent = x => (100 * x).toFixed(x < 0.1 ? 1 : 0) + " %";
  const sum = o => Object.values(o).reduce((a, b) => a + b, 0);

  const table = (columns, rows) => make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, ...columns.map(c => make("th", { class: c.startsWith("#") ? "number" : "", scope: "col", text: c.replace("#", "") })))),
    make("tbody", {}, ...rows.map(row => make("tr", {}, ...row.map((cell, i) => cell instanceof Node ? cell :
      make("td", { class: columns[i].startsWith("#") ? "number" : "", text: cell })))))));
  const stateCell = (state, more) => make("td", {}, make("span", { class: "state " + state, text: state + (more ? ", " + more : "") }));
  const wide = text => make("td", { class: "why", text });

  // remember adds what has happened since the last time to the history of a balancer.
  const remember = (key, b, time) => {
    const h = history.get(key) || { last: new Map(), at: time, samples: [] };
    const seconds = Math.max((time - h.at) / 1000, 0.001);
    const sample = { total: 0, rates: new Map() };
    for (const x of b.backends) {
      const ended = sum(x.requests), before = h.last.get(x.address);
      const rate = before === undefined ? 0 : Math.max(ended - before, 0) / seconds;
      sample.rates.set(x.address, rate);
      sample.total += rate;
      h.last.set(x.address, ended);
    }
    if (time > h.at) h.samples.push(sample);
    if (h.samples.length > kept) h.samples.shift();
    h.at = time;
    history.set(key, h);
    return h;
  };

  // chart draws which share of the requests each backend has had, over time.
  const chart = (h, backends) => {
    const shown = backends.map(b => b.address).sort().slice(0, charted);
    const width = kept - 1, svg = draw("svg", { class: "chart", viewBox: `0 0 ${width} 100`, preserveAspectRatio: "none", role: "img", "aria-label": "share of each backend in the requests of the last two minutes" });
    const from = kept - h.samples.length;
    let floor = h.samples.map(() => 0);
    [...shown, ""].forEach((address, i) => {
      const top = h.samples.map((s, k) => {
        const share = s.total === 0 ? 0 : address ? (s.rates.get(address) || 0) / s.total : 1 - floor[k];
        return floor[k] + share;
      });
      if (h.samples.length > 1) {
        const point = (y, k) => `${from + k},${(100 - 100 * y).toFixed(2)}`;
        const points = [...top.map(point), ...floor.map(point).reverse()];
        svg.append(draw("polygon", { points: points.join(" "), fill: address ? colours[i] : others, "fill-opacity": "0.8" }));
      }
      floor = top;
    });
    return svg;
  };
  const spark = (h, address, colour) => {
    const rates = h.samples.map(s => s.rates.get(address) || 0), most = Math.max(...rates, 0.001), from = kept - rates.length;
    const points = rates.map((r, k) => `${from + k},${(19 - 18 * r / most).toFixed(1)}`).join(" ");
    return draw("svg", { class: "spark", viewBox: `0 0 ${kept - 1} 20`, preserveAspectRatio: "none", "aria-hidden": "true" },
      draw("polyline", { points, fill: "none", stroke: colour, "stroke-width": "1.2", "vector-effect": "non-scaling-stroke" }));
  };

  const showBalancer = (b, key, time) => {
    const h = remember(key, b, time), now = h.samples[h.samples.length - 1] || { total: 0, rates: new Map() };
    const byAddress = b.backends.map(x => x.address).sort();
    const failed = x => (x.requests.failure || 0) + (x.requests.timeout || 0) + (x.requests.unreachable || 0);
    const rows = b.backends.map(x => {
      const place = byAddress.indexOf(x.address), colour = place < charted ? colours[place] : others;
      const rate = now.rates.get(x.address) || 0, share = now.total ? rate / now.total : 0;
      const bar = make("i");
      bar.style.width = (100 * share).toFixed(1) + "%";
      bar.style.background = colour;
      return [x.address, x.pod || "–", x.zone || "–", stateCell(x.state, x.for ? span(x.for) + " to go" : ""),
        make("td", {}, make("span", { class: "bar" }, bar), percent(share)), rate.toFixed(rate < 10 ? 1 : 0),
        make("td", {}, spark(h, x.address, colour)), count(x.inFlight), x.latency ? span(x.latency) : "–",
        count(x.requests.success || 0), count(failed(x)), count(x.requests.neutral || 0)];
    });
    const events = make("details", { "data-key": key },
      make("summary", { text: `events: ${b.events.length}` }),
      table(["ago", "event", "backend", "detail"], b.events.map(e => [span(e.ago), e.kind, e.backend || "–", wide(e.detail || "")])));
    return make("section", {},
      make("div", { class: "head" }, make("h2", { text: b.target }), make("span", { text: `${b.adapter}${b.client ? " " + b.client : ""}, ${b.policy}` }),
        make("span", { text: `${now.total.toFixed(now.total < 10 ? 1 : 0)} requests/s` })),
      b.failOpen && make("p", { class: "problem", text: "No backend is fit, so those that are not are used." }),
      make("h3", { text: "share of requests, last two minutes" }), chart(h, b.backends),
      make("h3", { text: "backends" }),
      table(["address", "pod", "zone", "state", "share", "#requests/s", "", "#in flight", "#latency", "#answered", "#failed", "#neutral"], rows),
      b.omitted && make("p", { class: "note", text: `${count(b.omitted)} more are not listed` }),
      Object.keys(b.counts).length > 0 && make("ul", { class: "counts" },
        ...Object.entries(b.counts).sort().map(([name, n]) => make("li", {}, make("b", { text: count(n) }), " " + name))),
      events);
  };

  const showTarget = t => make("section", {},
    make("div", { class: "head" }, make("h2", { text: t.target }),
      make("span", { text: `${t.used} of ${t.endpoints.length + (t.omitted || 0)} endpoints used` }),
      make("span", { text: `read ${t.age < 0 ? "never" : span(t.age) + " ago"}, changed ${t.unchanged < 0 ? "never" : span(t.unchanged) + " ago"}` }),
      make("span", { text: `${t.users} ${t.users === 1 ? "user" : "users"}` })),
    t.error && make("p", { class: "problem", text: (t.stale ? "Stale, the last endpoints are kept: " : "") + t.error }),
    t.degraded && make("p", { class: "note", text: "Degraded: " + t.degraded }),
    t.reason && make("p", { class: "problem", text: t.reason }),
    t.rule && make("p", { class: "rule", text: t.rule }),
    make("details", { "data-key": "target " + t.target },
      make("summary", { text: `endpoints: ${t.endpoints.length}` + (t.omitted ? ` and ${count(t.omitted)} more` : "") }),
      table(["address", "pod", "node", "zone", "conditions", "used", "why"], t.endpoints.map(e =>
        [e.address + (e.other ? ", " + e.other : ""), e.pod || "–", e.node || "–", e.zone || "–", e.conditions, stateCell(e.used ? "used" : "left out"), wide(e.why)]))));

  const show = s => {
    const open = new Set([...document.querySelectorAll("details[open]")].map(d => d.dataset.key));
    const time = Date.parse(s.time), numbers = new Map();
    document.getElementById("place").textContent = [s.node && "node " + s.node, s.zone && "zone " + s.zone].filter(Boolean).join(", ");
    const sections = s.balancers.map(b => {
      const name = b.target + " " + b.adapter + " " + (b.client || ""), number = (numbers.get(name) || 0) + 1;
      numbers.set(name, number);
      return showBalancer(b, name + " " + number, time);
    });
    sections.push(...s.targets.map(showTarget));
    if (Object.keys(s.asked).length > 0) {
      sections.push(make("section", {}, make("div", { class: "head" }, make("h2", { text: "asked of servers" })),
        make("ul", { class: "counts" }, ...Object.entries(s.asked).sort().map(([name, n]) => make("li", {}, make("b", { text: count(n) }), " " + name)))));
    }
    if (sections.length === 0) {
      sections.push(make("section", {}, make("p", { text: "Nothing is watched yet: that begins with the first request." })));
    }
    main.replaceChildren(...sections);
    for (const d of document.querySelectorAll("details")) d.open = open.has(d.dataset.key);
  };

  let paused = false;
  document.getElementById("pause").addEventListener("click", e => {
    paused = !paused;
    e.target.textContent = paused ? "Go on" : "Pause";
  });
  const again = async () => {
    if (!paused && !document.hidden) {
      try {
        const answer = await fetch("?format=json", { cache: "no-store" });
        if (!answer.ok) throw new Error("status " + answer.status);
        show(await answer.json());
        live.textContent = "live";
        live.className = "";
      } catch (problem) {
        live.textContent = "no answer: " + problem.message;
        live.className = "lost";
      }
    }
    setTimeout(again, period);
  };
  show(JSON.parse(document.getElementById("state").textContent));
  live.textContent = "live";
  setTimeout(again, period);
})();
