"""Views that stay: `zq top`, `zq status --watch` and `zq stat`.

What a view is, is pure: `zq.cli.live.trends` makes a snapshot of answers, `zq.cli.live.view` a new view of a key, and
`zq.cli.live.screen` lines of both. `zq.cli.live.source` asks, and `zq.cli.live.terminal` reads keys and shows lines.
"""
