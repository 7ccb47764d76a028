-- Replays the requests of a file, one JSON-free record each: method, path, headers and body, with their lengths.
-- wrk -s replay.lua URL -- FILE. The result is one line of JSON; times are in microseconds.

local requests = {}
local at = 0

local function records(path)
  local file = assert(io.open(path, "rb"))
  return function()
    local length = file:read("*l")
    if not length then
      file:close()
      return nil
    end
    return file:read(tonumber(length))
  end
end

function init(args)
  for record in records(args[1]) do
    requests[#requests + 1] = record
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "duration_us": %d, "bytes": %d, "refused": %d, "broken": %d, '
      .. '"p50_us": %.0f, "p99_us": %.0f, "max_us": %.0f}\n',
    summary.requests, summary.duration, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max
  ))
end
