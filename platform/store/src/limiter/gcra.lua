-- One call against all its buckets: counted in each, or in none.
--
-- A bucket's key holds the moment at which it is full again, as "seconds nanoseconds". All is reckoned
-- from now, in nanoseconds: a moment itself would be too large for a number to hold exactly.
--
-- KEYS: one a bucket. ARGV: now in seconds, its nanoseconds, then for each bucket its interval and its
-- depth in nanoseconds. Answers for each bucket when it was full, from now, or false for one unused.
local second, nano = tonumber(ARGV[1]), tonumber(ARGV[2])
local before, after, allowed = {}, {}, true
for index, key in ipairs(KEYS) do
    local interval, depth = tonumber(ARGV[2 * index + 1]), tonumber(ARGV[2 * index + 2])
    local kept = redis.call('GET', key)
    local full = 0
    before[index] = false
    if kept then
        local seconds, nanos = kept:match('^(%-?%d+) (%d+)$')
        full = (tonumber(seconds) - second) * 1e9 + (tonumber(nanos) - nano)
        full = math.min(math.max(full, 0), depth)
        before[index] = string.format('%d', full)
    end
    after[index] = full + interval
    allowed = allowed and after[index] <= depth
end
if allowed then
    for index, key in ipairs(KEYS) do
        local nanos = nano + after[index]
        local seconds = second + math.floor(nanos / 1e9)
        local kept = string.format('%d %d', seconds, nanos % 1e9)
        -- A full bucket is as good as none. A minute more, since our time and the server's need not agree.
        redis.call('SET', key, kept, 'PX', string.format('%d', math.ceil(after[index] / 1e6) + 60000))
    end
end
return before
