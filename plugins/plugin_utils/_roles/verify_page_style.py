# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The style of the page that shows a report of the role verify: light, dark, on a phone and printed."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --back: #f6f6f3; --card: #ffffff; --inset: #f4f5f6; --ink: #1c2027; --soft: #555d6b; --line: #dfe1e5;
  --grid: #eceef0; --link: #1b5fa8;
  --passed: #1b7346; --passed-bar: #57a57c; --passed-soft: #eaf5ee;
  --warned: #855400; --warned-bar: #d39a2d; --warned-soft: #fdf4e0;
  --failed: #b0261d; --failed-bar: #cf4a40; --failed-soft: #fdefed;
  --skipped: #555d6b; --skipped-bar: #9aa1ac; --skipped-soft: #eff0f2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #131519; --card: #1b1e24; --inset: #23272e; --ink: #e6e8eb; --soft: #a5adb9; --line: #31363f;
    --grid: #272b32; --link: #8dbdf3;
    --passed: #74cf9c; --passed-bar: #3f9468; --passed-soft: #1a2b22;
    --warned: #e8b85a; --warned-bar: #b98a2d; --warned-soft: #2e2617;
    --failed: #ff9a8f; --failed-bar: #d9574c; --failed-soft: #331d1c;
    --skipped: #a5adb9; --skipped-bar: #6b7380; --skipped-soft: #262a31;
  }
}
.passed { --tone: var(--passed); --bar: var(--passed-bar); --tint: var(--passed-soft); }
.warned { --tone: var(--warned); --bar: var(--warned-bar); --tint: var(--warned-soft); }
.failed { --tone: var(--failed); --bar: var(--failed-bar); --tint: var(--failed-soft); }
.skipped, .changed { --tone: var(--skipped); --bar: var(--skipped-bar); --tint: var(--skipped-soft); }
.new { --tone: var(--passed); --bar: var(--passed-bar); --tint: var(--passed-soft); }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--back); color: var(--ink); overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
}
main { max-width: 72rem; margin: 0 auto; padding: 2.75rem 1.5rem 3rem; }
h1, h2, h3, p, ol, pre { margin: 0; padding: 0; font: inherit; }
ol { list-style: none; }
bdi { unicode-bidi: isolate; }
a { color: var(--link); text-underline-offset: .15em; }
svg { display: block; }
.word { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.soft, time { color: var(--soft); }
.icon { flex: none; width: 1.1em; height: 1.1em; color: var(--tone); }
.number { font-variant-numeric: tabular-nums; white-space: nowrap; }

.top .kind { color: var(--soft); font-size: .8125rem; letter-spacing: .06em; text-transform: uppercase; }
.top h1 { display: flex; align-items: center; gap: .6rem; margin: .15rem 0 .3rem; font-size: 1.875rem; font-weight: 650;
  line-height: 1.25; letter-spacing: -.015em; }
.top .share { width: 100%; height: 8px; margin: 1.4rem 0 .6rem; border-radius: 4px; overflow: hidden; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.4rem; font-size: .875rem; }
.legend li { display: flex; align-items: center; gap: .4rem; }

.hubs { margin-top: 1.75rem; }
.hub { margin-top: .625rem; background: var(--card); border: 1px solid var(--line);
  border-left-width: 4px; border-radius: 10px; overflow: clip; }
.hub.failed, .hub.warned { border-left-color: var(--bar); }
.hub > summary, .bare {
  display: grid; grid-template-columns: 6.2rem minmax(9rem, 1fr) minmax(0, 1.5fr) 7.5rem 4.75rem; gap: .25rem 1rem;
  align-items: center; padding: .7rem 1.1rem;
}
summary { cursor: pointer; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary:focus-visible { outline: 2px solid var(--link); outline-offset: -2px; border-radius: 9px; }
.verdict { display: inline-flex; align-items: center; gap: .4rem; color: var(--tone); font-weight: 600; }
.hub h2 { font-weight: 600; }
.hub .why { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; }
.hub .why, .hub .verdict { font-size: .875rem; }
.hub .why { color: var(--soft); }
.hub summary .number { text-align: right; color: var(--soft); }
.hub[open] > summary { border-bottom: 1px solid var(--line); }
.body { padding: .9rem 1.1rem 1.2rem; }
.facts { color: var(--soft); font-size: .875rem; display: flex; flex-wrap: wrap; gap: 0 1.2rem; }

.check { margin-top: 1.35rem; }
.check > header { display: flex; flex-wrap: wrap; align-items: center; gap: .1rem .8rem; padding-bottom: .25rem; }
.check h3 { font-weight: 600; font-size: 1rem; }
.check header .facts { flex: 1 1 12rem; }
.trend { display: flex; align-items: center; gap: .6rem; color: var(--soft); font-size: .8125rem; }
.phases { font-size: .875rem; }
.phases > li {
  display: grid; grid-template-columns: 8.5rem minmax(0, 1fr) 4.5rem minmax(0, 1.15fr); column-gap: 1rem;
  align-items: center;
}
.said { padding: .2rem 0; }
.phases > .axis svg { grid-column: 2; }
.axis text { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums; }
.name { display: flex; align-items: center; gap: .45rem; }
.failed > .name, .warned > .name { font-weight: 600; }
.phases .number { text-align: right; color: var(--soft); }
.said { color: var(--soft); }
.warned > .said { color: var(--ink); }
.line { contain: size; width: 100%; height: 100%; min-height: 1.75rem; border-right: 1px solid var(--grid);
  background: repeating-linear-gradient(to right, var(--grid) 0 1px, transparent 1px var(--step, 100%)); }
.line rect { height: 12px; transform: translateY(-6px); }
.line .bar { fill: var(--bar); stroke: var(--bar); stroke-width: 2; stroke-linejoin: round; }
.failed > .line .bar { fill: url(#hatched); }
.warned > .line .bar { height: 6px; transform: translateY(-3px); }
.line .event { width: 1.5px; fill: var(--card); }
#hatched rect { fill: var(--failed-bar); }
#hatched path { stroke: var(--card); stroke-width: 2; }
symbol > * { fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linejoin: round; }
symbol > .full { fill: currentColor; stroke: none; }
symbol > .on-full { stroke: var(--card); }
.runs .area { fill: var(--grid); }
.runs .run { fill: none; stroke: var(--skipped-bar); stroke-width: 1.5; stroke-linejoin: round; }
.runs .cross { fill: none; stroke: var(--tone); stroke-width: 1.75; }
.runs circle { fill: var(--ink); }
.wide { grid-column: 2 / -1; }
.next { grid-column: 1 / -1; margin: .35rem 0 .6rem; padding: .75rem .95rem; background: var(--tint);
  border-radius: 8px; }
.next p + p { margin-top: .4rem; }
.next b { font-weight: 600; }
.request { color: var(--soft); font-size: .8125rem; }
.more { margin: .1rem 0 .35rem; }
.more > summary { color: var(--link); font-size: .875rem; width: fit-content; }
.more > summary::before, .hub > summary h2::before { content: "\\203a"; display: inline-block; width: .9em;
  color: var(--soft); transform-origin: .25em 55%; }
.more[open] > summary::before, .hub[open] > summary h2::before { transform: rotate(90deg); }
.bare h2::before { content: ""; }
pre { margin-top: .4rem; padding: .75rem .9rem; background: var(--inset); border-radius: 6px; white-space: pre-wrap;
  max-height: 32rem; overflow: auto;
  font: .8125rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.events { margin-top: .3rem; font-size: .8125rem; }
.events li { display: grid; grid-template-columns: 4.5rem minmax(0, 1fr); gap: .8rem; padding: .1rem 0; }
.left { color: var(--failed); font-weight: 600; }
h2.part { display: flex; align-items: center; gap: .5rem; margin-top: 2.5rem; font-size: 1.25rem; font-weight: 600; }
.compared .versions { grid-column: 4 / -1; text-align: right; color: var(--soft); font-size: .875rem; }
.compared .body p + p { margin-top: .25rem; }
.compared .check header .facts { flex: 0 1 auto; }
.compared b { font-weight: 600; }
table { width: 100%; border-collapse: collapse; font-size: .875rem; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .25rem 1rem .25rem 0; vertical-align: top; border-bottom: 1px solid var(--grid); }
td.kind { width: 7.5rem; color: var(--soft); }
td.value { width: 22%; }
.starts td { width: 30%; }
.pair { width: 100%; height: 18px; }
.pair .before { fill: var(--skipped-bar); }
.pair .after { fill: var(--bar); }
.list li { font-size: .875rem; padding: .1rem 0; }
.bottom { margin-top: 2.25rem; color: var(--soft); font-size: .8125rem; }
.bottom h2 { color: var(--ink); font-weight: 600; font-size: .875rem; }
.bottom li { display: flex; flex-wrap: wrap; gap: 0 .8rem; padding: .1rem 0; }
.bottom p { margin-top: 1rem; }

@media screen and (max-width: 50rem) {
  main { padding: 1.5rem .9rem 2rem; }
  .top h1 { font-size: 1.5rem; }
  .hub > summary { grid-template-columns: minmax(0, 1fr) auto; padding: .7rem .85rem; }
  .hub h2 { order: -2; }
  .hub summary .number { order: 1; }
  .hub .verdict.large { order: -1; }
  .hub summary .why { grid-column: 1 / -1; order: 2; }
  .hub summary .why:empty, .hub summary .trend { display: none; }
  .hub summary .number { grid-column: 1 / -1; text-align: left; padding-left: .9em; font-size: .8125rem; }
  .body { padding: .8rem .85rem 1rem; }
  .phases > li { grid-template-columns: minmax(0, 1fr) auto; padding: .4rem 0; }
  .phases > li .line { grid-column: 1 / -1; grid-row: 2; min-height: 1.25rem; }
  .skipped > .line, .said:empty { display: none; }
  .said, .wide { grid-column: 1 / -1; }
  .compared .versions { grid-column: 1 / -1; order: 3; text-align: left; padding-left: .9em; }
  thead { position: absolute; clip-path: inset(50%); }
  tr { display: block; padding: .35rem 0; border-bottom: 1px solid var(--grid); }
  td { display: block; padding: 0; border: 0; }
  td.kind, td.value, .starts td { width: auto; }
  td.value:empty { display: none; }
  td.value::before { content: attr(data-side) ": "; color: var(--soft); }
  .phases > .axis { padding: .3rem 0 0; }
  .phases > .axis svg { grid-column: 1 / -1; }
}
@media print {
  :root {
    color-scheme: light;
    --back: #ffffff; --card: #ffffff; --inset: #f4f5f6; --ink: #000000; --soft: #444a55; --line: #c6c9ce;
    --grid: #e4e6e9; --link: #1b5fa8;
    --passed: #1b7346; --passed-bar: #57a57c; --passed-soft: #ffffff;
    --warned: #855400; --warned-bar: #d39a2d; --warned-soft: #ffffff;
    --failed: #b0261d; --failed-bar: #cf4a40; --failed-soft: #ffffff;
    --skipped: #444a55; --skipped-bar: #9aa1ac; --skipped-soft: #ffffff;
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html { font-size: 13px; }
  body { font-size: 12px; }
  main { max-width: none; padding: 0; }
  .hub { overflow: visible; }
  .phases > li, .next, .hub > summary, tr { break-inside: avoid; }
  .more::details-content { display: block; content-visibility: visible; block-size: auto; }
  .next { border: 1px solid var(--failed-bar); }
  pre { max-height: none; }
}
"""
"""CSS, with the classes that the files verify_page*.py set.

The colour of each text has a contrast of at least 4.5 to the colour behind it.
"""
