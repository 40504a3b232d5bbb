-- Tells Redis what PostgreSQL has committed: takes out entries and raises `flushed`, in one step.
--
-- KEYS: flushed, bytes, events
-- ARGV: number of entries, then id, origin, first, last of each and the origin's watermark; then
--   origin and watermark of further origins
-- Answer: how many entries were taken out.
--
-- An entry goes only if the one under that id still has that origin, first and last: Redis hands out
-- a stream id again after it was emptied or rolled back, and a flusher that slept may come late.
-- `flushed` only rises, for the same reason; and it is raised for every origin whose entry is named,
-- whatever it was when the pass read it, or an entry could be gone and nothing tell that it was.
-- Entries go first: when memory is used up, Redis lets a script go on once it has begun with
-- something that frees memory.
local function larger(a, b)
  if #a ~= #b then
    return #a > #b
  end
  return a > b
end

local reached = {}
local function reach(origin, watermark)
  if not reached[origin] or larger(watermark, reached[origin]) then
    reached[origin] = watermark
  end
end

local after = 5 * tonumber(ARGV[1]) + 1
local deleted, bytes = 0, 0
for i = 2, after, 5 do
  local entry = redis.call('XRANGE', KEYS[3], ARGV[i], ARGV[i])[1]
  reach(ARGV[i + 1], ARGV[i + 4])
  if entry then
    local field = {}
    for j = 1, #entry[2], 2 do
      field[entry[2][j]] = entry[2][j + 1]
    end
    if field.o == ARGV[i + 1] and field.f == ARGV[i + 2] and field.l == ARGV[i + 3] then
      redis.call('XDEL', KEYS[3], ARGV[i])
      deleted = deleted + 1
      bytes = bytes + #(field.b or '')
    end
  end
end
if bytes > 0 then
  redis.call('DECRBY', KEYS[2], string.format('%.0f', bytes))
end
for i = after + 1, #ARGV, 2 do
  reach(ARGV[i], ARGV[i + 1])
end
for origin, watermark in pairs(reached) do
  local flushed = redis.call('HGET', KEYS[1], origin)
  if not flushed or larger(watermark, flushed) then
    redis.call('HSET', KEYS[1], origin, watermark)
  end
end
return deleted
