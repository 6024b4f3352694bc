"""Policies over small digit readers, and a suite that is quick."""

from redoubt.attacks.evasion import APGD, RandomSearch, Square

QUICK = (APGD("ce", steps=20), APGD("dlr", steps=20), Square(queries=150), RandomSearch(samples=30))

POLICY = """\
redoubt: 1
system: digits
model:
  source: torch:planted:{model}
  weights: reader.safetensors
  input: {{shape: [1, 8, 8], range: [0, 1]}}
  classes: 10
data:
  train: sklearn:digits/train
  test: {{source: sklearn:digits/test, take: {take}}}
adversaries:
  insider: {{knows: weights, budget: {{passes: {passes}}}}}
  customer: {{observes: scores, budget: {{queries: 60}}}}
  stranger: {{observes: label, budget: {{queries: 20}}}}
requirements:
{requirements}
"""
NOISE = """\
  - id: noise
    game: evasion
    adversary: insider
    within: {norm: linf, radius: 0.04}
    require: robust_accuracy >= 0.2"""
