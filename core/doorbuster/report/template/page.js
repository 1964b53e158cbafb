// Draws the charts from the JSON in the page. No network, no storage; works from a file.
(() => {
  "use strict";
  const { charts, words, mainSide } = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const plots = new Map();
  const PRINT_WIDTH = 700;

  const word = (key) => (key[0] === "=" ? key.slice(1) : words[root.lang][key]);
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const twoSides = (chart) => new Set(chart.series.map((s) => s.side)).size > 1;
  const nameOf = (chart, series) =>
    word(series.label) + (series.side && twoSides(chart) ? " · " + word(series.side) : "");

  const digits = (number) => String(+number.toPrecision(3));
  function seconds(value) {
    if (value == null) return "–";
    if (Math.abs(value) < 1e-3 && value !== 0) return digits(value * 1e6) + " µs";
    return Math.abs(value) < 1 && value !== 0 ? digits(value * 1e3) + " ms" : digits(value) + " s";
  }
  function clock(value, span) {
    const sign = value < 0 ? "−" : "";
    const size = Math.abs(value);
    if (span <= 600) return sign + digits(size) + " s";
    const pad = (n) => String(Math.floor(n)).padStart(2, "0");
    if (span <= 7200) return `${sign}${Math.floor(size / 60)}:${pad(size % 60)}`;
    return `${sign}${Math.floor(size / 3600)}:${pad((size % 3600) / 60)} h`;
  }
  const plain = (value) => (value == null ? "–" : (+value.toPrecision(4)).toLocaleString("en-US"));
  const shown = (chart, value) => (chart.unit === "s" ? seconds(value) : plain(value));

  // A stack is drawn from the top layer down, so that each layer covers the ones below it.
  function cumulated(chart) {
    const sums = [];
    let below = chart.x.map(() => 0);
    for (const series of chart.series) {
      below = below.map((value, i) => value + (series.y[i] || 0));
      sums.push(below);
    }
    return sums;
  }

  // Most charts run over the time of the sale, those of a capacity study over load or cost.
  const xName = (chart) => word("axis." + (chart.x_kind || "time"));
  const xShown = (chart, value) => (chart.x_kind ? digits(value) : clock(value, span(chart)));

  function columnsOf(chart) {
    const data = [chart.x];
    const series = [{ label: xName(chart), value: (u, v) => (v == null ? "–" : xShown(chart, v)) }];
    const bands = [];
    const paths = chart.stepped ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear();
    if (chart.stacked) {
      const sums = cumulated(chart);
      for (let i = chart.series.length - 1; i >= 0; i--) {
        const own = chart.series[i];
        const fill = colour("--c-" + own.colour);
        data.push(sums[i]);
        series.push({ label: nameOf(chart, own), stroke: fill, fill, width: 0, paths, points: { show: false },
          value: (u, v, s, at) => (at == null ? "–" : shown(chart, own.y[at])) });
      }
      return { data, series, bands };
    }
    for (const own of chart.series) {
      const stroke = colour("--c-" + own.colour);
      if (own.low) {
        for (const edge of [own.high, own.low]) {
          data.push(edge);
          series.push({ class: "u-band", stroke: "transparent", width: 0, paths, points: { show: false } });
        }
        const at = series.length;
        bands.push({ series: [at - 2, at - 1], fill: stroke + "2e" });
      }
      data.push(own.y);
      const main = !own.side || own.side === mainSide;
      series.push({ label: nameOf(chart, own), class: main ? "u-main" : "u-other", stroke, width: own.dash ? 1.6 : 2, dash: own.dash ? [6, 4] : undefined,
        paths, spanGaps: false, points: { show: chart.log ? undefined : false, size: 4 },
        value: (u, v) => shown(chart, v) });
    }
    return { data, series, bands };
  }

  const span = (chart) => chart.x[chart.x.length - 1] - chart.x[0];

  // What was broken, as shaded stretches; where a name has room it stands at the foot.
  function shadeFaults(u, chart) {
    const { ctx } = u;
    const { left, top, width, height } = u.bbox;
    const ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.font = `${11 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    let end = -Infinity;
    for (const [label, begun, ended] of chart.faults || []) {
      const from = Math.max(u.valToPos(begun, "x", true), left);
      const to = Math.min(u.valToPos(ended, "x", true), left + width);
      if (to <= left || from >= left + width) continue;
      ctx.fillStyle = colour("--c-fault");
      ctx.fillRect(from, top, Math.max(to - from, ratio), height);
      const name = word(label);
      const wide = ctx.measureText(name).width;
      const at = Math.min(from + 3 * ratio, left + width - wide);
      if (!name || at < end) continue;
      ctx.fillStyle = colour("--c-mark");
      ctx.fillText(name, at, top + height - 3 * ratio);
      end = at + wide + 6 * ratio;
    }
    ctx.restore();
  }

  // The opening as a line through the chart, and the phases' names along its top.
  function marks(chart) {
    return (u) => {
      shadeFaults(u, chart);
      const { ctx } = u;
      const { left, top, width, height } = u.bbox;
      const ratio = devicePixelRatio || 1;
      ctx.save();
      ctx.font = `${11 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
      ctx.fillStyle = ctx.strokeStyle = colour("--c-mark");
      ctx.textAlign = "left";
      ctx.textBaseline = "bottom";
      for (const [name, start, end] of chart.phases) {
        const from = Math.max(u.valToPos(start, "x", true), left);
        const to = Math.min(u.valToPos(end, "x", true), left + width);
        if (to <= left || from >= left + width) continue;
        ctx.fillRect(from, top - 3 * ratio, Math.max(to - from - 2 * ratio, 1), ratio);
        if (ctx.measureText(name).width < to - from - 6 * ratio) ctx.fillText(name, from + 3 * ratio, top - 4 * ratio);
      }
      const zero = u.valToPos(0, "x", true);
      if (zero >= left && zero <= left + width) {
        ctx.setLineDash([4 * ratio, 3 * ratio]);
        ctx.lineWidth = ratio;
        ctx.beginPath();
        ctx.moveTo(zero, top);
        ctx.lineTo(zero, top + height);
        ctx.stroke();
        ctx.textBaseline = "top";
        ctx.fillText("T0", zero + 4 * ratio, top + 3 * ratio);
      }
      ctx.restore();
    };
  }

  // Loads that matter, as lines with their names; where two are close, the lower name moves down.
  function loadMarks(chart) {
    return (u) => {
      const { ctx } = u;
      const { left, top, width, height } = u.bbox;
      const ratio = devicePixelRatio || 1;
      ctx.save();
      ctx.font = `${11 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
      ctx.fillStyle = ctx.strokeStyle = colour("--c-mark");
      ctx.setLineDash([4 * ratio, 3 * ratio]);
      ctx.lineWidth = ratio;
      ctx.textBaseline = "top";
      let row = 0, end = -Infinity;
      for (const [value, key] of chart.marks) {
        const x = u.valToPos(value, "x", true);
        if (x < left - 1 || x > left + width + 1) continue;
        const text = `${word(key)} ${digits(value)}`;
        const wide = ctx.measureText(text).width + 8 * ratio;
        const right = x + wide > left + width;
        ctx.textAlign = right ? "right" : "left";
        const from = right ? x - wide : x;
        row = from < end ? row + 1 : 0;
        end = Math.max(end, from + wide);
        ctx.beginPath();
        ctx.moveTo(x, top);
        ctx.lineTo(x, top + height);
        ctx.stroke();
        ctx.fillText(text, x + (right ? -4 : 4) * ratio, top + (3 + 14 * row) * ratio);
      }
      ctx.restore();
    };
  }

  // 1, 2 and 5 of each power of ten; within a narrow range every unit, half or fifth of it.
  function loadTicks(u, axis, low, high) {
    const ticks = [];
    if (high / low > 8) {
      for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
        for (const digit of [1, 2, 5]) ticks.push(digit * power);
    } else {
      const raw = (high - low) / 5;
      const power = 10 ** Math.floor(Math.log10(raw));
      const step = [1, 2, 5, 10].find((digit) => digit * power >= raw) * power;
      for (let at = Math.ceil(low / step) * step; at <= high; at += step) ticks.push(+at.toPrecision(6));
    }
    return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  }

  function optionsOf(chart, width, height) {
    const ink = colour("--soft");
    const grid = { stroke: colour("--c-grid"), width: 1 };
    const common = { stroke: ink, grid, ticks: { ...grid, size: 4 }, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif" };
    const { series, bands } = columnsOf(chart);
    const whole = !chart.log && (chart.unit === "units" || chart.unit === "requests");
    return {
      width, height, series, bands, padding: [20, 12, 0, 0],
      legend: { markers: { width: 2, dash: (u, i) => (u.series[i].dash ? "dashed" : "solid") } },
      cursor: { sync: { key: chart.x_kind || "sale", setSeries: false }, points: { size: 6 } },
      scales: { x: { time: false, distr: chart.x_kind === "load_factor" ? 3 : 1, range: (u, low, high) => [low, high] },
        y: chart.log ? { distr: 3 } : { range: (u, low, high) => [Math.min(0, low * 1.06), Math.max(high * 1.06, whole ? 1 : 1e-9)] } },
      axes: [
        { ...common, label: xName(chart), labelSize: 20, size: 34, space: 64,
          ...(chart.x_kind === "load_factor" ? { splits: loadTicks, filter: (u, at) => at } : {}), values: (u, at) => at.map((v) => (v == null ? "" : xShown(chart, v))) },
        { ...common, label: word("axis." + chart.unit), labelSize: 20, size: 58, space: 34,
          ...(whole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8] } : {}),
          values: (u, at) => at.map((v) => (v == null ? "" : shown(chart, v))) },
      ],
      hooks: { drawAxes: [chart.marks ? loadMarks(chart) : marks(chart)], setCursor: [(u) => u.root.classList.toggle("hovering", u.cursor.idx != null)] },
    };
  }

  function draw(host, width) {
    const name = host.dataset.chart;
    const chart = charts[name];
    plots.get(host)?.destroy();
    if (!chart) {
      host.textContent = word("chart.nothing");
      return;
    }
    host.textContent = "";
    host.classList.toggle("stacked", chart.stacked);
    const wide = width || host.clientWidth;
    const plot = new uPlot(optionsOf(chart, wide, +host.dataset.height), columnsOf(chart).data, host);
    if (chart.stacked)
      plot.root.querySelectorAll(".u-series").forEach((row, i) => {
        if (i) row.style.setProperty("--swatch", plot.series[i].stroke(plot, i));
      });
    plots.set(host, plot);
  }

  function fillTable(details) {
    const chart = charts[details.dataset.table];
    const box = details.querySelector(".scroll");
    if (!chart || !details.open) return;
    const head = [xName(chart), ...chart.series.map((s) => nameOf(chart, s))];
    const table = document.createElement("table");
    const row = (cells, kind, parent) => {
      const line = parent.insertRow();
      for (const text of cells) {
        const cell = line.appendChild(document.createElement(kind));
        cell.className = "n";
        cell.textContent = text;
      }
    };
    row(head, "th", table.createTHead());
    const body = table.createTBody();
    chart.x.forEach((x, i) => row([xShown(chart, x), ...chart.series.map((s) => shown(chart, s.y[i]))], "td", body));
    box.replaceChildren(table);
  }

  const hosts = [...document.querySelectorAll("[data-chart]")];
  const tables = [...document.querySelectorAll("[data-table]")];
  function drawAll(width) {
    hosts.forEach((host) => draw(host, width));
    tables.forEach(fillTable);
  }

  function speak(language) {
    root.lang = language;
    document.querySelectorAll("[data-language]").forEach((button) =>
      button.setAttribute("aria-pressed", String(button.dataset.language === language)));
    document.querySelectorAll("[data-steps] button").forEach((button) => {
      button.textContent = word(button.title === "all" ? "all.steps" : "step." + button.title);
    });
    drawAll();
  }

  // Steps of the response chart: one button a step that has data.
  document.querySelectorAll("[data-steps]").forEach((bar) => {
    const prefix = bar.dataset.steps + ".";
    const host = document.querySelector(`[data-chart^="${prefix}"]`);
    const details = document.querySelector(`[data-table^="${prefix}"]`);
    const choose = (name) => {
      host.dataset.chart = details.dataset.table = name;
      bar.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", String(b.value === name)));
      draw(host);
      fillTable(details);
    };
    for (const name of Object.keys(charts).filter((key) => key.startsWith(prefix))) {
      const button = bar.appendChild(document.createElement("button"));
      button.type = "button";
      button.value = name;
      button.title = name.slice(prefix.length);
      button.setAttribute("aria-pressed", String(name === host.dataset.chart));
      button.addEventListener("click", () => choose(name));
    }
  });

  document.querySelectorAll("[data-language]").forEach((button) =>
    button.addEventListener("click", () => speak(button.dataset.language)));
  tables.forEach((details) => details.addEventListener("toggle", () => fillTable(details)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
  addEventListener("beforeprint", () => { root.dataset.theme = "light"; drawAll(PRINT_WIDTH); });
  addEventListener("afterprint", () => { delete root.dataset.theme; drawAll(); });
  new ResizeObserver(() => plots.forEach((plot, host) => {
    if (host.clientWidth && host.clientWidth !== plot.width) plot.setSize({ width: host.clientWidth, height: +host.dataset.height });
  })).observe(document.body);

  speak((navigator.language || "").toLowerCase().startsWith("zh") ? "zh-CN" : "en");
})();
