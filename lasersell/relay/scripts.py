"""
What Redis does in one step, in Lua.

A publisher's every write goes through a script that first compares its lease, fencing
token included, with the one that Redis has: two leaders' writes are never both taken.
"""

from __future__ import annotations

import hashlib

import attrs

__all__ = [
    "ACQUIRE",
    "ANSWER",
    "FAIL",
    "OWN",
    "PUBLISH",
    "PUBLISH_LOW",
    "RELEASE",
    "RENEW",
    "RESET",
    "SNAPSHOT",
    "TICK",
    "TRIM",
    "Script",
]


@attrs.frozen
class Script:
    """A script, and the name that Redis keeps it by."""

    text: str
    sha: str = attrs.field(init=False)

    @sha.default
    def _sha(self) -> str:
        # Not for security: it is how Redis names scripts.
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


ACQUIRE = Script("""
-- KEYS lease, meta; ARGV owner, ttl in ms, token held before ('' if none).
-- Returns the new lease, or '' if somebody else leads or has led since.
local meta = redis.call('HMGET', KEYS[2], 'token', 'lease')
local last = meta[1]
-- Whoever holds a token may have got a newer one whose answer was lost.
local is_ours = ARGV[3] ~= '' and last and meta[2] == last .. ' ' .. ARGV[1]
if not is_ours then
  if redis.call('EXISTS', KEYS[1]) == 1 then return '' end
  if ARGV[3] ~= '' and last and last ~= ARGV[3] then return '' end
end
-- By the clock too: a restart may have forgotten the last token, never the time.
local now = redis.call('TIME')
local token = math.max(now[1] * 1000 + math.floor(now[2] / 1000), tonumber(last or '0') + 1)
token = string.format('%.0f', token)
local lease = token .. ' ' .. ARGV[1]
redis.call('HSET', KEYS[2], 'token', token, 'lease', lease)
redis.call('SET', KEYS[1], lease, 'PX', ARGV[2])
return lease
""")

RENEW = Script("""
-- KEYS lease; ARGV lease, ttl in ms. Returns whether it is still held.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
""")

RELEASE = Script("""
-- KEYS lease; ARGV lease.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
""")

PUBLISH = Script("""
-- KEYS lease, meta, high, positions, latest
-- ARGV lease, token, source, number of the first event, then of each event: payload,
--   key of its position ('' if none), its record ('' if it is over).
-- Returns 1, or 0 if another one leads, or -1 less the number of the last event that is
--   there if Redis has forgotten some.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local first = tonumber(ARGV[4])
local meta = redis.call('HMGET', KEYS[2], 'source', 'written', 'sequence')
local written, sequence = 0, tonumber(meta[3] or '0')
if meta[1] == ARGV[3] then written = tonumber(meta[2]) end
if written < first - 1 then return -1 - written end
local number = first
for at = 5, #ARGV, 3 do
  if number > written then
    sequence = sequence + 1
    redis.call('XADD', KEYS[3], '*', 'e', ARGV[at], 'i', ARGV[3] .. ':' .. number,
      'n', string.format('%.0f', sequence), 't', ARGV[2])
    local key, record = ARGV[at + 1], ARGV[at + 2]
    if key ~= '' then
      if record ~= '' then
        redis.call('HSET', KEYS[4], key, record)
      else
        redis.call('HDEL', KEYS[4], key)
        redis.call('HDEL', KEYS[5], key .. ' pnl_update', key .. ' liquidity_snapshot')
      end
    end
  end
  number = number + 1
end
-- A write that was repeated may come once more after later ones: it sets nothing back.
if number - 1 > written then
  redis.call('HSET', KEYS[2], 'source', ARGV[3], 'written', number - 1,
    'sequence', string.format('%.0f', sequence))
end
return 1
""")

PUBLISH_LOW = Script("""
-- KEYS lease, meta, low, positions, latest
-- ARGV lease, token, low entries kept, payload ('' if none), state ('' if not to be
--   told), then of each latest: key of its position, field, value.
-- Returns 1, or 0 if another one leads.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], 'state', ARGV[5]) end
redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[3], '*', 'e', ARGV[4], 's', ARGV[5],
  't', ARGV[2])
for at = 6, #ARGV, 3 do
  -- Not of a position that has ended meanwhile: nobody would ever remove it.
  if redis.call('HEXISTS', KEYS[4], ARGV[at]) == 1 then
    redis.call('HSET', KEYS[5], ARGV[at + 1], ARGV[at + 2])
  end
end
return 1
""")

RESET = Script("""
-- KEYS lease, positions, latest, meta
-- ARGV lease, source, number of the last high event, then key and record of each open
--   position.
-- Makes them all that is known. Returns 1, or 0 if another one leads.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2], KEYS[3])
for at = 4, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
-- By the clock: subscribers must see that the sequence is broken.
local now = redis.call('TIME')
redis.call('HSET', KEYS[4], 'source', ARGV[2], 'written', ARGV[3],
  'sequence', string.format('%.0f', now[1] * 1000))
return 1
""")

_IDS = """
local function parts(id)
  local ms, n = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(n)
end
local function is_less(a, b)
  local a1, a2 = parts(a)
  local b1, b2 = parts(b)
  return a1 < b1 or (a1 == b1 and a2 < b2)
end
local function after(id)
  local ms, n = parts(id)
  return string.format('%.0f-%.0f', ms, n + 1)
end
local function fields(flat)
  local map = {}
  for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
  return map
end
"""

TRIM = Script(
    _IDS
    + """
-- KEYS high; ARGV ms to keep whatever happens, greatest age in ms, most entries.
-- Returns how many entries were dropped that a group had not dealt with.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local function before(ms) return string.format('%.0f-0', math.max(0, now - ms)) end
-- Below this nobody needs anything: all groups have had it and said so.
local safe = before(tonumber(ARGV[1]))
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = fields(flat)
  local needed = after(group['last-delivered-id'])
  if tonumber(group['pending']) > 0 then
    needed = redis.call('XPENDING', KEYS[1], group['name'])[2]
  end
  if is_less(needed, safe) then safe = needed end
end
redis.call('XTRIM', KEYS[1], 'MINID', safe)
return redis.call('XTRIM', KEYS[1], 'MINID', before(tonumber(ARGV[2])))
  + redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[3])
"""
)

SNAPSHOT = Script(
    _IDS
    + """
-- KEYS meta, positions, latest, high, low
-- Returns everything a late joiner must know, and the ids that come after it.
local function last(key)
  if redis.call('EXISTS', key) == 0 then return '0-0' end
  return fields(redis.call('XINFO', 'STREAM', key))['last-generated-id']
end
local meta = redis.call('HMGET', KEYS[1], 'sequence', 'token', 'state')
return {last(KEYS[4]), last(KEYS[5]), meta[1] or '0', meta[2] or '0', meta[3] or '',
  redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3])}
"""
)

TICK = Script(
    _IDS
    + """
-- KEYS high; ARGV group, worker, beginning of the workers' keys, id of its connection,
--   ttl of a worker in ms, entry it has in hand ('' if none), whether it has room,
--   ms after which an entry is taken from a living worker, consumer of failed entries,
--   ms until a failed entry is tried again, entries that it has dealt with.
-- Says that the worker lives; with room, returns an entry that nobody deals with and how
-- often it was delivered before: never, if it was passed on to this worker.
redis.call('SET', ARGV[3] .. ARGV[2], ARGV[4], 'PX', ARGV[5])
if ARGV[7] == '0' then return {} end
local is_known = {[ARGV[6]] = true}
for i = 11, #ARGV do is_known[ARGV[i]] = true end
local function claim(consumer, idle, least)
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', idle, '-', '+', #ARGV,
    consumer)
  for _, item in ipairs(pending) do
    if not is_known[item[1]] then
      local got = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, item[1])
      if #got > 0 and got[1] then return {got[1], math.max(item[4], least)} end
      -- Trimmed away for its age: there is nothing left to deal with.
      redis.call('XACK', KEYS[1], ARGV[1], item[1])
    end
  end
end
local own = claim(ARGV[2], 0, 0)
if own then return own end
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = fields(flat)
  local name, pending = consumer['name'], tonumber(consumer['pending'])
  if name == ARGV[9] then
    local found = pending > 0 and claim(name, ARGV[10], 1)
    if found then return found end
  elseif name ~= ARGV[2] then
    local is_dead = redis.call('EXISTS', ARGV[3] .. name) == 0
    local found = pending > 0 and claim(name, is_dead and 0 or ARGV[8], 1)
    if found then return found end
    if is_dead and pending == 0 and tonumber(consumer['idle']) > 60000 then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
    end
  end
end
return {}
"""
)

OWN = Script("""
-- KEYS high, owner of the account
-- ARGV group, worker, beginning of the workers' keys, entry, ttl of an owner in ms,
--   'take' (whoever has the account), 'ask' (nothing if nobody has it), or 'settle'.
-- Returns '' if the account is the worker's now, '?' if nobody has it; else the entry is
-- handed to the worker that has it, and the id of that one's connection is returned.
local owner = redis.call('GET', KEYS[2])
if ARGV[6] ~= 'take' and owner and owner ~= ARGV[2] then
  local connection = redis.call('GET', ARGV[3] .. owner)
  if connection then
    -- Nobody was given it yet.
    redis.call('XCLAIM', KEYS[1], ARGV[1], owner, 0, ARGV[4], 'RETRYCOUNT', 0, 'JUSTID')
    return connection
  end
end
if ARGV[6] == 'ask' and not owner then return '?' end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[5])
return ''
""")

FAIL = Script("""
-- KEYS high; ARGV group, consumer of failed entries, entry.
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID')
return 1
""")

ANSWER = Script("""
-- KEYS lease, meta, answer, intent
-- ARGV lease, entry of the command, answer ('' if nobody waits), seconds to keep it,
--   count of intents to forget, each of those, then field and value of each intent.
-- Returns 1, or 0 if another one leads.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local at = 6 + tonumber(ARGV[5])
for i = 6, at - 1 do redis.call('HDEL', KEYS[4], ARGV[i]) end
while at < #ARGV do
  redis.call('HSET', KEYS[4], ARGV[at], ARGV[at + 1])
  at = at + 2
end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[2], 'command', ARGV[2]) end
if ARGV[3] ~= '' then
  redis.call('RPUSH', KEYS[3], ARGV[3])
  redis.call('EXPIRE', KEYS[3], ARGV[4])
end
return 1
""")
