"""The HTML of every page, in Python so that a wheel needs no data files; jinja2 escapes every value."""

STYLE = """
:root { color-scheme: light; --ink: #24292f; --faint: #5f6871; --line: #d8dee4; --blue: #0072b2; --orange: #b45309; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
.frame { display: grid; grid-template-columns: 210px minmax(0, 940px); gap: 40px; max-width: 1240px; margin: 0 auto;
  padding: 28px 24px 80px; }
nav { position: sticky; top: 20px; align-self: start; font-size: 14px; border-right: 1px solid var(--line);
  padding: 6px 12px 6px 0; max-height: 95vh; overflow: auto; }
nav strong { display: block; margin-bottom: 6px; }
nav ol { list-style: none; margin: 0; padding: 0; }
nav a { display: block; padding: 3px 0; color: var(--faint); text-decoration: none; }
nav a:hover { color: var(--blue); text-decoration: underline; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
.subtitle { color: var(--faint); margin: 0 0 20px; overflow-wrap: anywhere; }
h2 { font-size: 21px; margin: 44px 0 6px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 16px; margin: 26px 0 6px; }
.lead { margin: 0 0 14px; max-width: 74ch; }
.warning, .note { border-left: 5px solid var(--orange); background: #fff6e5; padding: 10px 14px; margin: 12px 0;
  border-radius: 4px; max-width: 80ch; overflow-wrap: anywhere; }
.warning strong { color: var(--orange); }
.note { border-color: var(--blue); background: #eef6fb; }
figure { margin: 16px 0 26px; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption, .caption { color: var(--faint); font-size: 14px; max-width: 86ch; margin: 6px 0 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(165px, 1fr)); gap: 12px; margin: 14px 0 20px; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px 12px; }
.card .label { font-size: 13.5px; color: var(--faint); }
.card .value { font-size: 27px; font-weight: 650; line-height: 1.25; overflow-wrap: anywhere; }
.card .words { font-size: 18px; line-height: 1.4; padding: 4px 0 3px; }
.card .detail { font-size: 13px; color: var(--faint); line-height: 1.4; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; margin: 6px 0; }
th, td { padding: 4px 10px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { border-bottom: 2px solid #8c959f; font-weight: 600; vertical-align: bottom; }
td { overflow-wrap: break-word; min-width: 5ch; }
td.right, th.right { text-align: right; font-variant-numeric: tabular-nums; }
td.right { white-space: nowrap; }
tr:hover td { background: #f6f8fa; }
dl { display: grid; grid-template-columns: minmax(140px, max-content) 1fr; gap: 3px 18px; margin: 8px 0;
  font-size: 15px; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
details { margin: 12px 0; }
summary { cursor: pointer; color: var(--blue); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(var(--tile, 200px), 1fr)); gap: 14px;
  margin: 10px 0; }
.tile { border: 1px solid var(--line); border-radius: 8px; overflow: hidden; font-size: 13px; line-height: 1.4; }
.tile .pictures { display: flex; gap: 3px; }
.tile img { flex: 1 1 0; min-width: 0; aspect-ratio: 1; object-fit: contain; background: #000; display: block; }
.tile .body { padding: 7px 10px 9px; }
.tile .mark { font-weight: 650; }
.tile.right { border-top: 5px solid #0072b2; } .tile.right .mark { color: #0072b2; }
.tile.wrong { border-top: 5px solid #d55e00; } .tile.wrong .mark { color: #b34e00; }
.tile .line { overflow-wrap: anywhere; } .tile .line span { color: var(--faint); }
.tile .name { color: var(--faint); font-size: 12px; overflow-wrap: anywhere; }
footer { color: var(--faint); font-size: 13px; margin-top: 50px; border-top: 1px solid var(--line); padding-top: 10px; }
@media (max-width: 900px) { .frame { display: block; } nav { position: static; border: 0; margin-bottom: 20px; } }
@media print { nav { display: none; } .frame { display: block; } figure, .tile { break-inside: avoid; } }
"""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ page.title }}</title>
<style>{{ style }}</style>
</head>
<body><div class="frame">
<nav aria-label="Contents"><strong>Contents</strong><ol>
{%- for section in page.sections %}
<li><a href="#section-{{ loop.index }}">{{ section.title }}</a></li>
{%- endfor %}
</ol></nav>
<main>
<h1>{{ page.title }}</h1>
{% if page.subtitle %}<p class="subtitle">{{ page.subtitle }}</p>{% endif %}
{%- for text in page.warnings %}
<div class="warning" role="alert"><strong>Warning.</strong> {{ text }}</div>
{%- endfor %}
{%- for section in page.sections %}
<section id="section-{{ loop.index }}">
<h2>{{ section.title }}</h2>
{% if section.lead %}<p class="lead">{{ section.lead }}</p>{% endif %}
{%- for block in section.blocks %}
{%- if block.title %}<h3>{{ block.title }}</h3>{% endif %}
{%- if block.kind == "figure" %}
<figure><img src="{{ block.source }}" alt="{{ block.title or section.title }}" width="{{ block.width }}">
<figcaption>{{ block.caption }}</figcaption></figure>
{%- elif block.kind == "table" %}
<div class="scroll"><table>
<thead><tr>{% for name in block.columns %}<th{% if block.right[loop.index0] %} class="right"{% endif %}>{{ name }}</th>
{%- endfor %}</tr></thead>
<tbody>
{%- for row in block.rows %}
<tr>{% for text in row %}<td{% if block.right[loop.index0] %} class="right"{% endif %}>{{ text }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{% if block.caption %}<p class="caption">{{ block.caption }}</p>{% endif %}
{%- elif block.kind == "cards" %}
<div class="cards">
{%- for card in block.cards %}
<div class="card"><div class="label">{{ card.label }}</div>
<div class="value{% if card.value|length > 9 %} words{% endif %}">{{ card.value }}</div>
<div class="detail">{{ card.detail }}</div></div>
{%- endfor %}
</div>
{%- elif block.kind == "note" %}
<div class="note">{{ block.text }}</div>
{%- elif block.kind == "facts" %}
{% if block.folded %}<details><summary>{{ block.folded }}</summary>{% endif %}
<dl>{% for name, text in block.facts.items() %}<dt>{{ name }}</dt><dd>{{ text }}</dd>{% endfor %}</dl>
{% if block.folded %}</details>{% endif %}
{%- elif block.kind == "gallery" %}
{% if block.caption %}<p class="caption">{{ block.caption }}</p>{% endif %}
<div class="tiles" style="--tile: {{ block.tile_width }}px">
{%- for tile in block.tiles %}
<div class="tile {{ tile.state }}"><div class="pictures">
{%- for source in tile.sources %}<img src="{{ source }}" alt="{{ tile.name }}">{% endfor %}</div><div class="body">
{%- if tile.mark %}<div class="mark">{{ tile.mark }}</div>{% endif %}
{%- for label, text in tile.lines %}<div class="line">{% if label %}<span>{{ label }}</span> {% endif %}{{ text }}</div>
{%- endfor %}
<div class="name">
{%- if tile.link %}<a href="{{ tile.link }}">{{ tile.name }}</a>{% else %}{{ tile.name }}{% endif %}</div>
</div></div>
{%- endfor %}
</div>
{%- endif %}
{%- endfor %}
</section>
{%- endfor %}
<footer>{{ page.footer }}</footer>
</main></div></body></html>
"""
