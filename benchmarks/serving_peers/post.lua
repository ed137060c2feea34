-- Posts the file $WRK_BODY again and again, and prints what came of it as one line of JSON.

local file = assert(io.open(os.getenv("WRK_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = os.getenv("WRK_CONTENT_TYPE")
file:close()

function done(summary, latency, requests)
  local percentiles = {}
  local function add(percent)
    table.insert(percentiles, string.format('"%.1f": %d', percent, latency:percentile(percent)))
  end
  for half = 1, 199 do
    add(half / 2)
  end
  add(99.9)
  local errors = {}
  for _, kind in ipairs({"connect", "read", "write", "status", "timeout"}) do
    table.insert(errors, string.format('"%s": %d', kind, summary.errors[kind]))
  end
  io.write(string.format(
    'RESULT {"requests": %d, "duration_us": %d, %s, "percentiles_us": {%s}}\n',
    summary.requests, summary.duration, table.concat(errors, ", "), table.concat(percentiles, ", ")))
end
