-- One event-loop tick of one shard: admissions, settlements and the drain's acknowledgements, in the order in which they were asked.
-- One call is one atomic step, so that no two workers can both take the last dollar, and no settlement is half done.
-- These files, one after another (state, windows, money, holds, history, guesses, books), are a library of Redis functions: what stands
-- at their top level runs once, when Redis loads it, and a tick runs no more than its operations (as a script, half of a lone operation's
-- time went into defining these functions again). What belongs to one tick alone is set by `begin`.
--
-- keys[1]  the shard's usage stream, {sN}:usage; all other keys share its hash tag, so that a shard lives in one cluster slot
-- args     how many records the usage stream may hold; then one operation each, packed as MessagePack arrays: {letter, …}
-- returns  the replies as one MessagePack array, in the same order; {'defect', text} for an operation that this script cannot do
--
-- Units: money in whole nano-USD (caps) and pico-USD a token (prices), instants in Unix ms, windows on Redis's clock.
-- Keys of an account: {sN}:a:<account>  hash   ep newest epoch · sy epoch, er era of the last sync · i:<scope> calls in flight
--                                              $<scope> money: counted by the ledger, entries behind that count, settled but not yet
--                                              in the ledger, held · g grants {{id, from, until, left}…}, oldest expiry first
--                                              rv grant tokens that holds count on
--                     {sN}:w:<scope>    the sliding window of requests and tokens, packed (windows.lua)
--                     {sN}:h:<call>     a hold; after settlement its result, for a while (holds.lua)
--                     {sN}:holds        holds by expiry
--
-- What an account's hash and a window hold is read once a tick and written once, at its end: the calls of a tick are often one account's.

local FIELDS_MAX = 1000  -- Lua's unpack has an end
local MONEY, DOLLAR = '<dddd', 36  -- the names of money fields begin with $
local BUCKET_MS = 100  -- of windows

-- ---- of one tick ---------------------------------------------------------------------------------------------------------------
local call, floor, ceil, max, min, byte, format, struct_pack, struct_unpack, pack, unpack_packed
local USAGE, TAG, NOW, BUCKET, STREAM_MAX
local accounts, windows
local era_now, cards_now, stream_length, missing_ms  -- looked up once: the stream's bound is not exact to the records of one tick

-- Redis's and Lua's own, which are not there yet while the library is loaded.
local function find_functions()
  call, floor, ceil, max, min = redis.call, math.floor, math.ceil, math.max, math.min
  byte, format, struct_pack, struct_unpack = string.byte, string.format, struct.pack, struct.unpack
  pack, unpack_packed = cmsgpack.pack, cmsgpack.unpack
end

local function begin(stream, stream_max)
  if not call then find_functions() end
  local clock = call('TIME')
  USAGE, TAG, STREAM_MAX = stream, string.match(stream, '^(%b{}):'), tonumber(stream_max)
  NOW = clock[1] * 1000 + floor(clock[2] / 1000)
  BUCKET = floor(NOW / BUCKET_MS)
  accounts, windows = {}, {}
  era_now, cards_now, stream_length, missing_ms = nil, nil, nil, nil
end

local function number(value) return tonumber(value or 0) or 0 end

local function era()
  era_now = era_now or number(call('HGET', TAG .. ':era', 'no'))
  return era_now
end

local function from_text(name, text)
  if not text then
    return false
  elseif byte(name) == DOLLAR then
    return {struct_unpack(MONEY, text)}
  elseif name == 'g' then
    return unpack_packed(text)
  end
  return tonumber(text)
end

local function to_text(name, value)
  if byte(name) == DOLLAR then
    return struct_pack(MONEY, value[1], value[2], value[3], value[4])
  elseif name == 'g' then
    return pack(value)
  end
  return format('%.0f', value)
end

local function account_of(id)
  local account = accounts[id]
  if not account then
    account = {key = TAG .. ':a:' .. id, seen = {}, written = {}}
    accounts[id] = account
  end
  return account
end

-- Read the fields that were not read before, in one command; `seen` has false for one that is not there.
local function know(account, names)
  local seen, missing = account.seen, names
  if next(seen) then
    missing = {}
    for at = 1, #names do
      if seen[names[at]] == nil then missing[#missing + 1] = names[at] end
    end
    if #missing == 0 then return end
  end
  local values = call('HMGET', account.key, unpack(missing))
  for at = 1, #missing do
    local name = missing[at]
    seen[name] = from_text(name, values[at])
  end
end

local function put(account, name, value)
  account.seen[name], account.written[name] = value, true
end

-- A scope's {counted, entries, pending, held}, to be changed; what the ledger counted is −1 while nobody has told.
local function money_of(account, scope)
  local name = '$' .. scope
  local money = account.seen[name]
  if not money then
    money = {-1, 0, 0, 0}
    account.seen[name] = money
  end
  account.written[name] = true
  return money
end

local function keep_account(account)
  local fields = {}
  for name in pairs(account.written) do
    fields[#fields + 1] = name
    fields[#fields + 1] = to_text(name, account.seen[name])
    if #fields >= FIELDS_MAX then
      call('HSET', account.key, unpack(fields))
      fields = {}
    end
  end
  if #fields > 0 then call('HSET', account.key, unpack(fields)) end
end
