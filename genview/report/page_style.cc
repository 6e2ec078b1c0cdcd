#include <string_view>

#include "genview/report/sections.h"

namespace genview {

// One sheet for screen, phone and paper, light and dark. Colours are named once; the arms' six are told apart by people
// with any kind of colour vision and, as lines, by their dashes too. A sheet of A4 less its margins is as narrow as
// some screens and keeps the layout of wide ones, in smaller type.
const std::string_view kPageStyle = R"css(
:root {
  --paper: #fbfaf7; --ink: #1c1b19; --soft: #67635b; --rule: #e3dfd6; --wash: #f2efe8; --warn: #9b2c1f;
  --c0: #6f6b63; --c1: #b3432b; --c2: #2a66a8; --c3: #2d7d56; --c4: #84559a; --c5: #96600c; --c6: #9b958a;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "URW Palladio L", "Source Serif 4", Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #171613; --ink: #ece8df; --soft: #a8a297; --rule: #36332d; --wash: #211f1b; --warn: #f0917f;
    --c0: #aaa59a; --c1: #f08b6d; --c2: #82b5ee; --c3: #7fcaa1; --c4: #c79ddb; --c5: #e4b65c; --c6: #757067;
  }
}
* { box-sizing: border-box; }
html { background: var(--paper); color: var(--ink); font: 400 1rem/1.55 var(--sans); -webkit-text-size-adjust: 100%; }
body { margin: 0; }
main { overflow-wrap: break-word; max-width: 62rem; margin: 0 auto; padding: clamp(1.5rem, 5vw, 4rem) clamp(1rem, 4vw, 2.5rem) 4rem; }
header { margin-bottom: 2.25rem; }
.eyebrow { margin: 0 0 1rem; color: var(--soft); font-size: .85rem; letter-spacing: .06em; }
h1 { margin: 0; max-width: 24em; font: 400 clamp(1.7rem, 4.2vw, 2.6rem)/1.18 var(--serif); letter-spacing: -.012em; text-wrap: balance; }
.lead { margin: 1rem 0 0; font-size: 1.05rem; max-width: 46em; }
.setting { margin: .3rem 0 0; color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
section { margin-top: 3.5rem; }
section.results { margin-top: 0; }
h2 { margin: 0 0 .35rem; font: 400 1.45rem/1.25 var(--serif); }
h2.run { margin-top: 4rem; padding-top: 1.25rem; border-top: 1px solid var(--rule); }
h3 { margin: 1.5rem 0 .6rem; font: 600 .9rem/1.3 var(--sans); color: var(--soft); }
.note { overflow-wrap: anywhere; }
.note, caption { color: var(--soft); font-size: .92rem; max-width: 48em; margin: 0 0 1.25rem; }
.warning { color: var(--warn); font-weight: 600; }

table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums lining-nums; }
.scroll { overflow-x: auto; }
caption { caption-side: bottom; text-align: left; padding-top: .7rem; margin: 0; }
th, td { padding: .7rem .75rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: baseline; font-weight: 400; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
thead th { padding-top: 0; color: var(--soft); font-size: .85rem; white-space: nowrap; border-bottom-color: var(--soft); }
.number { text-align: right; white-space: nowrap; }
.number small { color: var(--soft); font-size: .82rem; }
strong { font-weight: 650; }
.arms tbody:not(:last-child) tr:last-child > * { border-bottom-color: var(--soft); }
.arms th:first-child { min-width: 16rem; width: 38%; }
.arms td.wide { width: 22%; min-width: 7rem; vertical-align: top; }
.arm-name { font-weight: 600; }
tbody th, .legend li { overflow-wrap: anywhere; }
.weights tbody th, .stages tbody th { min-width: 5rem; }
.set { display: block; color: var(--soft); font-size: .8rem; line-height: 1.4; max-width: 26rem; overflow-wrap: anywhere; margin-top: .15rem; }
.quiet { color: var(--soft); }
details { margin-top: 1.25rem; } summary { color: var(--soft); font-size: .92rem; cursor: pointer; } details .scroll { margin-top: 1rem; }
.stages th, .stages td { padding-top: .5rem; padding-bottom: .5rem; }
.stages td.wide { width: 26%; vertical-align: middle; }
.likeness th, .likeness td, .weights th, .weights td { font-size: .88rem; }
.likeness .number, .weights .number { padding-left: .4rem; padding-right: .4rem; }
.likeness tr > :last-child, .weights tr > :last-child { padding-right: 0; }
.likeness thead th, .weights thead th { white-space: normal; vertical-align: bottom; font-size: .82rem; }
.left-out td { overflow-wrap: anywhere; font-size: .92rem; }

.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); }
.c3 { color: var(--c3); } .c4 { color: var(--c4); } .c5 { color: var(--c5); } .c6 { color: var(--c6); }
.swatch { display: inline-block; width: 1.1em; height: 0; margin-right: .55em; border-top: 3px solid currentColor; vertical-align: .28em; }
.swatch.d2, .swatch.d4 { border-top-style: dashed; } .swatch.d3, .swatch.d5 { border-top-style: dotted; }

svg { display: block; overflow: visible; }
svg.interval { width: 100%; height: 24px; }
.axis { stroke: var(--rule); stroke-width: 1; }
.grid { stroke: var(--rule); stroke-width: 1; }
.reference { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
.range { stroke: currentColor; stroke-width: 2.5; stroke-linecap: round; }
.dot { fill: currentColor; stroke: var(--paper); stroke-width: 1.5; }
.tick { fill: var(--soft); font: 11px var(--sans); }
.end { text-anchor: end; } .middle { text-anchor: middle; } .start { text-anchor: start; }
.curve { fill: none; stroke: currentColor; stroke-width: 1.4; stroke-linejoin: round; stroke-linecap: round; }
.curve.strong { stroke-width: 2.4; } .curve.c6 { stroke-width: 1; }
.label { fill: currentColor; font: 11px var(--sans); } .label.strong { font-weight: 650; }
.curve.d2 { stroke-dasharray: 7 4; } .curve.d3 { stroke-dasharray: 1 4.5; } .curve.d4 { stroke-dasharray: 10 3 2 3; } .curve.d5 { stroke-dasharray: 3 3; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 16rem), 1fr)); gap: 1.5rem 2rem; }
.panels + .panels { margin-top: 2rem; }
.panel { width: 100%; height: auto; margin-top: .5rem; }
.histogram { width: 100%; height: auto; }
.bar { fill: var(--c2); }
.histogram .tick { font-size: 12px; }

figure { margin: 0; }
figcaption { font-size: .85rem; line-height: 1.4; }
.panels figcaption small { display: block; color: var(--soft); min-height: 2.8em; }
.picture, .tiny { display: block; width: 100%; height: auto; border-radius: 3px; background: var(--wash); }
.tiny { image-rendering: pixelated; }
.missing { display: grid; place-items: center; aspect-ratio: 1; border: 1px dashed var(--rule); border-radius: 3px; color: var(--soft); font-size: .75rem; }
.contact { display: grid; grid-template-columns: repeat(10, 1fr); gap: 1.1rem .5rem; }
.contact .picture, .contact .tiny { margin-bottom: 3px; aspect-ratio: 1; object-fit: cover; }
.contact .missing { margin-bottom: 3px; }
.contact figcaption { font-size: .78rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.contact figcaption span:last-child { display: block; color: var(--soft); }
.meter { display: block; height: 4px; margin: 3px 0 4px; border-radius: 2px; background: var(--rule); overflow: hidden; }
.meter i { display: block; height: 100%; min-width: 2px; border-radius: 2px; background: var(--c2); }
.strip { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: .75rem .5rem; }
.strip .picture, .strip .tiny { margin-bottom: 3px; }
.strip figcaption { margin-top: .35rem; color: var(--soft); }
.strip figure:first-child figcaption { color: var(--ink); font-weight: 600; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 13rem), 1fr)); gap: 1.5rem; }
.four { display: grid; grid-template-columns: 1fr 1fr; gap: 3px; }
.pair figcaption { margin-top: .4rem; color: var(--soft); } .pair strong { color: var(--ink); }
ul.key, ul.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; margin: .9rem 0 0; padding: 0; list-style: none; font-size: .85rem; color: var(--soft); }
ul.legend { margin: .5rem 0 1.25rem; color: var(--ink); font-size: .92rem; }

pre { margin: 0; padding: 1.1rem 1.25rem; max-height: 26rem; overflow: auto; background: var(--wash); border-radius: 4px; font: .8rem/1.5 var(--mono); tab-size: 2; }
.command { white-space: pre-wrap; overflow-wrap: anywhere; }
:focus-visible { outline: 2px solid var(--c2); outline-offset: 2px; }
.environment { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); gap: .5rem 2rem; margin: 1.5rem 0 0; font-size: .85rem; }
.environment dt { color: var(--soft); } .environment dd { margin: 0; overflow-wrap: anywhere; }

@media screen and (max-width: 46rem) {
  .contact { grid-template-columns: repeat(5, 1fr); }
  .strip { gap: .35rem; } .strip figcaption { font-size: .75rem; }
  .pairs { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.25rem 1rem; }
  .panels figcaption small { min-height: 0; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { display: grid; grid-template-columns: repeat(3, auto); justify-content: space-between; gap: 0 1rem; padding: .9rem 0; border-bottom: 1px solid var(--rule); }
  th, td { padding: 0; border: 0; }
  tbody th, td.wide, .left-out td { grid-column: 1 / -1; }
  .arms td.wide { width: auto; padding: .5rem 0 0; order: 1; }
  .arms tr { grid-template-columns: repeat(3, 1fr); }
  .arms tbody:not(:last-child) tr:last-child { border-bottom-color: var(--soft); }
  .arms th:first-child { min-width: 0; width: auto; }
  .set { max-width: none; margin-bottom: .35rem; }
  .histogram .tick { font-size: 19px; }
  .histogram .level { display: none; }
  .stages th, .stages td { padding: 0; } .stages td.wide { display: none; }
  .number { text-align: left; }
  td[data-label]::before { content: attr(data-label); display: block; color: var(--soft); font-size: .75rem; }
  .number small { display: block; }
  [data-before]::before { content: attr(data-before) " "; color: var(--soft); font-weight: 400; }
  [data-after]::after { content: " " attr(data-after); }
  .likeness td > [data-before] { display: block; }
  .likeness td > [data-before]::before { font-size: .75rem; }
  .likeness tr, .weights tr { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .4rem .75rem; }
  .likeness .number, .weights .number { padding: 0; white-space: normal; }
  caption { display: block; }
}
@media screen and (max-width: 30rem) { .contact { gap: 1rem .35rem; } .contact figcaption { font-size: .7rem; } }
@media print {
  :root { --paper: #fff; --ink: #000; --soft: #555; --rule: #ccc; --wash: #f6f6f6;
    --c0: #6f6b63; --c1: #b3432b; --c2: #2a66a8; --c3: #2d7d56; --c4: #84559a; --c5: #96600c; --c6: #9b958a; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  html { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .scroll { overflow: visible; }
  section { margin-top: 1.6rem; }
  figure, tr, h2, h3, p { break-inside: avoid; }
  h2, h3, h2 + p, h3 + p { break-after: avoid; }
  pre { max-height: none; overflow: visible; white-space: pre-wrap; font-size: 7.5pt; }
}
)css";

}  // namespace genview
