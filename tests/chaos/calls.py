WHEN = {}
