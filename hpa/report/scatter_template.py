"""HTML and style of the page of points; jinja2 escapes every value."""

STYLE = """
:root { color-scheme: light; --ink: #24292f; --faint: #5f6871; --line: #d8dee4; --blue: #0072b2; --soft: #f6f8fa; }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
html, body { height: 100%; margin: 0; }
body { display: grid; grid-template: auto minmax(0, 1fr) / minmax(0, 1fr) 316px; color: var(--ink); background: #fff;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header { grid-column: 1 / 3; display: flex; flex-wrap: wrap; gap: 8px 22px; align-items: center; padding: 9px 16px;
  border-bottom: 1px solid var(--line); }
header .titles { min-width: 0; flex: 1 1 260px; }
h1 { font-size: 18px; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
.subtitle { color: var(--faint); font-size: 13px; overflow-wrap: anywhere; }
.tools { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; }
.set { display: inline-flex; }
button, select, input[type=search] { font: inherit; font-size: 13px; color: inherit; background: #fff;
  padding: 4px 10px; border: 1px solid #b9c1c9; border-radius: 6px; }
button { cursor: pointer; } button:hover { background: var(--soft); }
button:disabled { color: #9aa3ab; cursor: default; background: #fff; }
button[aria-pressed=true] { background: var(--blue); border-color: var(--blue); color: #fff; }
.set button { border-radius: 0; margin-left: -1px; }
.set button:first-child { border-radius: 6px 0 0 6px; margin: 0; }
.set button:last-child { border-radius: 0 6px 6px 0; }
:focus-visible { outline: 3px solid #e69f00; outline-offset: 1px; }
#find { width: 148px; }
#panels { display: grid; gap: 1px; background: var(--line); min-height: 0; min-width: 0; grid-auto-rows: minmax(0, 1fr);
  grid-template-columns: minmax(0, 1fr); }
#panels:is([data-count="2"], [data-count="3"], [data-count="4"]) { grid-template-columns: repeat(2, minmax(0, 1fr)); }
#panels:not([data-count="1"], [data-count="2"], [data-count="3"], [data-count="4"]) {
  grid-template-columns: repeat(3, minmax(0, 1fr)); }
.panel { display: flex; flex-direction: column; background: #fff; min-height: 0; min-width: 0; }
.panel .head { display: flex; flex-wrap: wrap; gap: 0 14px; align-items: baseline; padding: 5px 12px 3px; }
.panel h2 { font-size: 14.5px; margin: 0; overflow-wrap: anywhere; }
.panel.active h2 { color: var(--blue); }
.panel .fact, .panel .note { font-size: 12.5px; color: var(--faint); }
.panel .fact b { color: var(--ink); font-weight: 600; }
.enlarge { margin-left: auto; font-size: 12px; padding: 1px 8px; }
.area { position: relative; flex: 1 1 0; min-height: 0; cursor: grab; touch-action: none; overflow: hidden; }
.area:active { cursor: grabbing; }
.area[data-tool=lasso], .area[data-tool=box] { cursor: crosshair; }
.area:focus-visible { outline-offset: -3px; }
.area canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
aside { border-left: 1px solid var(--line); overflow-y: auto; padding: 10px 14px 20px; }
aside h2 { font-size: 14.5px; margin: 16px 0 4px; }
aside h2:first-child { margin-top: 0; }
.faint { color: var(--faint); font-size: 12.5px; }
.row { display: flex; gap: 6px; align-items: center; margin: 5px 0; flex-wrap: wrap; }
#colour { flex: 1; min-width: 0; }
.entry { display: flex; align-items: center; gap: 6px; padding: 1px 4px; border-radius: 5px; cursor: pointer; }
.entry:hover, .entry:focus-within { background: #eef3f7; }
.entry input { margin: 0; accent-color: var(--blue); }
.entry .name { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.entry .size { color: var(--faint); font-size: 12.5px; font-variant-numeric: tabular-nums; }
.entry .only { visibility: hidden; border: 0; background: none; color: var(--blue); padding: 0 4px; font-size: 12px; }
.entry:hover .only, .entry:focus-within .only { visibility: visible; }
.swatch { flex: none; }
#ends { display: flex; justify-content: space-between; font-size: 12px; color: var(--faint); }
#number input[type=range] { flex: 1; min-width: 0; accent-color: var(--blue); }
.share { margin: 3px 0; font-size: 12.5px; }
.share-text { display: flex; justify-content: space-between; gap: 10px; }
.share .bar { height: 4px; border-radius: 2px; }
#gallery { display: block; margin-top: 10px; cursor: pointer; }
#card { position: fixed; z-index: 5; width: 244px; padding: 11px; background: #fff; border: 1px solid #aab2ba;
  border-radius: 9px; box-shadow: 0 6px 22px rgba(20, 30, 40, 0.22); pointer-events: none; font-size: 13px; }
#card-picture { display: block; margin: 0 auto 7px; border-radius: 5px; background: #101418; }
#card-name { color: var(--faint); font-size: 12px; margin-top: 4px; overflow-wrap: anywhere; }
.chip { display: flex; gap: 5px; align-items: center; font-weight: 600; }
.line { overflow-wrap: anywhere; } .line .what { color: var(--faint); margin-right: 6px; }
.line.chosen .what { color: var(--blue); font-weight: 600; }
.line.flag .what { color: #b34e00; font-weight: 600; }
dialog { border: 1px solid var(--line); border-radius: 10px; padding: 18px 24px; max-width: 560px; }
dialog h2 { margin: 0 0 8px; font-size: 17px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 8px 0 14px; } dd { margin: 0; }
kbd { font: 12px ui-monospace, monospace; border: 1px solid #b9c1c9; border-bottom-width: 2px; border-radius: 4px;
  padding: 0 5px; background: var(--soft); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
noscript { position: fixed; inset: 30% 20% auto; padding: 20px; background: #fff6e5; border: 1px solid #b45309; }
@media (max-width: 820px) { body { grid-template: auto 62vh auto / minmax(0, 1fr); height: auto; }
  header { grid-column: 1; } aside { border: 0; } }
"""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline';
 script-src 'sha256-{{ script_hash }}'; base-uri 'none'; form-action 'none'">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<div class="titles"><h1>{{ title }}</h1><div class="subtitle">{{ subtitle }}</div></div>
<div class="tools" role="toolbar" aria-label="Tools">
<span class="set"><button type="button" data-tool="move" title="Drag to move (m)">Move</button>
<button type="button" data-tool="lasso" title="Draw around points (l)">Lasso</button>
<button type="button" data-tool="box" title="Draw a box around points (b)">Box</button></span>
<span class="set"><button type="button" id="pictures" aria-pressed="false" title="Pictures in place of points (t)">
Pictures</button>
<button type="button" id="names" aria-pressed="true" title="Names where a class is dense (n)">Names</button></span>
<label class="row">Points <input id="size" type="range" min="-1.5" max="2" step="0.25" value="0" style="width: 78px"
 aria-label="Size of the points"></label>
<button type="button" id="fit" title="Show everything (f)">Fit</button>
<form id="search" role="search"><input id="find" type="search" placeholder="Find ID, class …  (/)"
 aria-label="Select items by ID, class or another text"></form>
<button type="button" id="ask" title="Keys and mouse (?)">?</button>
</div>
</header>
<main id="panels" data-count="{{ panels | length }}">
{%- for panel in panels %}
<section class="panel" id="panel-{{ loop.index0 }}" aria-label="{{ panel.name }}">
<div class="head"><h2>{{ panel.name }}</h2>
{%- for name, value in panel.facts %}<span class="fact">{{ name }} <b>{{ value }}</b></span>{% endfor %}
{%- if panel.note %}<span class="note">{{ panel.note }}</span>{% endif %}
{%- if panels | length > 1 %}<button type="button" class="enlarge" aria-pressed="false">Enlarge</button>{% endif %}
</div>
<div class="area" tabindex="0" role="application" aria-describedby="hint"
 aria-label="Map of {{ panel.name }}"><canvas class="points"></canvas><canvas class="over"></canvas></div>
</section>
{%- endfor %}
</main>
<aside>
<h2><label for="colour">Colour by</label></h2>
<div class="row"><select id="colour"></select></div>
<div class="row" id="switches"><button type="button" id="all-on">All</button>
<button type="button" id="all-off">None</button><span class="faint" id="shown" aria-live="polite"></span></div>
<div id="entries"></div>
<div id="number" hidden>
<canvas id="ramp" style="width: 284px; height: 74px"></canvas><div id="ends"></div>
<label class="row"><input type="checkbox" id="by-rank"> spread colours evenly (by rank)</label>
<label class="row" id="missing"><input type="checkbox" id="missing-box" checked> <span id="missing-text"></span></label>
<label class="row">from <input type="range" id="from" min="0" max="1000" value="0"></label>
<label class="row">to <input type="range" id="to" min="0" max="1000" value="1000"></label>
<div class="faint" id="range"></div>
</div>
<h2 id="selected-count">Nothing selected</h2>
<p class="faint" id="selection-empty">Click points, or draw around them with the lasso (l) or the box (b). The selection
can be saved as CSV.</p>
<div class="row"><button type="button" id="save" disabled>Save CSV</button>
<button type="button" id="copy" disabled>Copy IDs</button><button type="button" id="clear" disabled>Clear</button></div>
<div id="shares"></div>
<canvas id="gallery" hidden></canvas><div class="faint" id="gallery-rest"></div>
</aside>
<div id="card" hidden><canvas id="card-picture"></canvas><div id="card-lines"></div><div id="card-name"></div></div>
<div id="say" class="unseen" aria-live="polite"></div>
<p id="hint" class="unseen">Arrow keys move the map, plus and minus zoom; with shift, arrow keys go from point to point,
and enter selects the point.</p>
<dialog id="help"><h2>Keys and mouse</h2><dl>
<dt>wheel, <kbd>+</kbd> <kbd>-</kbd></dt><dd>zoom; double click zooms in, <kbd>f</kbd> shows everything</dd>
<dt>drag, arrows</dt><dd>move the map</dd>
<dt>click</dt><dd>select a point, or take it out again</dd>
<dt><kbd>l</kbd> <kbd>b</kbd> <kbd>m</kbd></dt><dd>lasso, box, move; <kbd>shift</kbd> adds to the selection,
<kbd>alt</kbd> takes away from it; <kbd>shift</kbd> and drag is a lasso at any time</dd>
<dt><kbd>shift</kbd> arrows</dt><dd>go from point to point; <kbd>enter</kbd> selects the point</dd>
<dt><kbd>t</kbd> <kbd>n</kbd></dt><dd>pictures in place of points; names of the classes</dd>
<dt><kbd>/</kbd></dt><dd>find and select by ID, class or another text</dd>
<dt><kbd>s</kbd> <kbd>esc</kbd></dt><dd>save the selection as CSV; drop it</dd></dl>
<p>In the legend, a tick switches a class on or off, “only” leaves it alone, and pointing at it shows it everywhere. An
item with several classes has the colour of the rarest that is switched on; what is switched off stays as pale dots.</p>
<form method="dialog"><button>Close</button></form></dialog>
<noscript>This page draws its points by a script of its own; allow scripts for this file to see them.</noscript>
<script type="application/json" id="data">{{ data }}</script>
{%- for sheet in sheets %}
<script type="text/plain" id="sheet-{{ loop.index0 }}">{{ sheet }}</script>
{%- endfor %}
<script>{{ script }}</script>
</body></html>
"""
