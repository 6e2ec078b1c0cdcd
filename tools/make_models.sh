#!/bin/sh
# Trains the shipped models from nothing and measures them. Each part goes on where it was stopped.
set -e
cd "$(dirname "$0")/.."
program=build/bin/genview
$program generator tower recipes/models-tower.toml
$program generator train recipes/models-unclip.toml
$program generator measure recipes/models-measure.toml
