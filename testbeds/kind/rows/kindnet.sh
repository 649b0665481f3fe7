# shellcheck shell=sh disable=SC2034,SC2154  # read by, and reads from, testbeds/kind/run
# kind's own: point-to-point veths.
default_cni=true
