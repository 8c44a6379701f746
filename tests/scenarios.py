"""A small operation for tests: two projects, two vendors, thirty labelers, two days."""

from __future__ import annotations

SMALL = """\
version: 1
name: small
start: 2026-01-05T00:00:00Z
warm_up: 1d
duration: 1d
partitions: 2
task_types:
  - {id: animals, handling_seconds: 60, classes: {cat: .5, dog: .3, owl: .2}, hard: {owl: 1.5}, confused: [[cat, dog]]}
  - {id: captions, handling_seconds: 200}
vendors:
  - {id: acme, time_zone: Europe/Riga, labelers: 20, weekend_share: 1}
  - {id: busy, time_zone: America/Bogota, labelers: 10, weekend_share: 1}
projects:
  - {id: zoo, task_type: animals, vendors: [acme, busy], gold_share: .3, review_share: .1, size: 4}
  - {id: talk, task_type: captions, vendors: [acme], gold_share: 0, review_share: .5}
"""
