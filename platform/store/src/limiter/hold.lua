-- Something that begins, under each of its names.
--
-- A name's key is a set of what is under way, each by the moment from which on it counts no more.
--
-- KEYS: one a name. ARGV: now and how long one counts at most, in milliseconds, and what tells it from others.
-- Answers for each name how many others there are.
local now, held_for = tonumber(ARGV[1]), tonumber(ARGV[2])
local others = {}
for index, key in ipairs(KEYS) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    others[index] = redis.call('ZCARD', key)
    redis.call('ZADD', key, now + held_for, ARGV[3])
    -- A minute more, since our time and the server's need not agree.
    redis.call('PEXPIRE', key, held_for + 60000)
end
return others
