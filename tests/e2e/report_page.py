#!/usr/bin/env python3
"""The report in a real browser: nothing fetched, no complaint, every picture decoded, readable on any screen.

    report_page.py GENVIEW"""
import os
import subprocess
import sys
import tempfile

import sample_run
from browser import Browser, find_chromium

A4 = 718  # px of a sheet less Chromium's margins

# Contrast (WCAG 2.2) of every element that has text of its own against the page's ground, smallest first.
CONTRAST = """(() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => { for (; element; element = element.parentElement) { const c = parse(getComputedStyle(element).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c; } };
  const rows = [];
  for (const element of document.body.querySelectorAll('*')) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    const style = getComputedStyle(element), colour = element.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(parse(colour)), light(ground(element))];
    rows.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.tagName + '.' + element.getAttribute('class')]);
  }
  return rows.sort((x, y) => x[0] - y[0])[0];
})()"""


def check(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")


def check_page(browser, path, width, dark):
    page = browser.open(path, width=width, dark=dark)
    name = f"{width} px, {'dark' if dark else 'light'}"
    fetched = [url for url in page.requests() if not url.startswith(("data:", "file://" + path))]
    check(not fetched, f"{name}: fetched {fetched}")
    check(not page.complaints(), f"{name}: the browser says {page.complaints()}")
    pictures = page.evaluate("[...document.images].map(image => [image.complete, image.naturalWidth, image.alt])")
    check(len(pictures) > 50, f"{name}: {len(pictures)} pictures")
    bad = [picture for picture in pictures if not picture[0] or picture[1] == 0 or not picture[2]]
    check(not bad, f"{name}: not decoded or without a description: {bad[:3]}")
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    check(overflow <= 0, f"{name}: {overflow} px wider than the screen")
    rows = page.evaluate("[0, 1, 2].map(row => [...document.querySelectorAll('.contact figure')].map("
                         "figure => [figure.children[row].offsetTop - figure.offsetTop, figure.children[row].offsetHeight]))")
    check(all(abs(a - b) <= 1 for row in rows for place in row for a, b in zip(place, row[0])), f"{name}: the contact sheet is ragged: {rows}")
    wide = page.evaluate("[...document.querySelectorAll('.scroll')].map(frame => frame.scrollWidth - frame.clientWidth)")
    check(width == 820 or max(wide) <= 0, f"{name}: tables run out of the page by {wide} px")
    contrast, element = page.evaluate(CONTRAST)
    check(contrast >= 4.5, f"{name}: contrast {contrast:.2f} of {element}")
    first_screen = page.evaluate("document.querySelector('table').getBoundingClientRect().top")
    check(first_screen < 900, f"{name}: the table begins at {first_screen} px, below the first screen")
    return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


def check_long_name(browser, path, width):
    page = browser.open(path, width=width)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    check(overflow <= 0, f"{width} px: a long name makes the page {overflow} px wider than the screen")


def check_print(browser, path):
    page = browser.open(path, width=A4)
    page.call("Emulation.setEmulatedMedia", media="print")
    head = page.evaluate("getComputedStyle(document.querySelector('.arms thead')).display")
    check(head == "table-header-group", f"on paper the table's head is {head}")
    wide = page.evaluate("Math.max(...[document.documentElement, ...document.querySelectorAll('main *')].map("
                         "element => element.getBoundingClientRect().right))")
    check(wide <= A4, f"on paper something ends at {wide} px of {A4}")


def main():
    if not find_chromium():
        print("skipped: no chromium")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="genview-report-") as folder:
        run, out = os.path.join(folder, "run"), os.path.join(folder, "report.html")
        sample_run.main(run)
        subprocess.run([sys.argv[1], "report", run, "--out", out], check=True, stdout=subprocess.DEVNULL)
        long_run, long_out = os.path.join(folder, "long"), os.path.join(folder, "long.html")
        sample_run.main(long_run, last="moco_v2_" + 56 * "x")  # as long as the name of an arm may be
        subprocess.run([sys.argv[1], "report", long_run, "--out", long_out], check=True, stdout=subprocess.DEVNULL)
        with Browser() as browser:
            for width in (320, 820, 1280):
                check_long_name(browser, long_out, width)
            for made in (out, long_out):
                check_print(browser, made)
            grounds = {dark: {check_page(browser, out, width, dark) for width in (360, 820, 1280)} for dark in (False, True)}
        check(len(grounds[False]) == len(grounds[True]) == 1 and grounds[False] != grounds[True], f"grounds are {grounds}")
    print("good")


if __name__ == "__main__":
    main()
