-- ---- holds: admitted, extended and renewed, settled, given back, swept ---------------------------------------------------------
-- A hold is 'H', its head, and the operation that admitted it. What is left of it is 'S' and its result, 'W' (swept: what was
-- charged for it by estimate), or 'F' (given back), for a while.
local HOLD_HEAD, HOLD_AT = '<ddddddd', 58
local UNSENT, SENT, NOT_TOLD = 0, 1, -1

local function hold_key(id) return TAG .. ':h:' .. id end

local function to_text_hold(hold)
  return struct_pack(HOLD_HEAD, hold.amount, hold.output, hold.granted, hold.bucket, hold.sent, hold.output_seen, hold.input_seen)
end

local function money_fields(names, money)
  for _, limit in ipairs(money) do names[#names + 1] = '$' .. limit[1] end
  return names
end

local function know_places(account_id, rates, money)
  local names = money_fields({'rv', 'g', 'sy'}, money)
  for _, rate in ipairs(rates) do names[#names + 1] = 'i:' .. rate[1] end
  know(account_of(account_id), names)
end

-- A call's hold, or what is left of it, and its state.
local function read_hold(id)
  local text = call('GET', hold_key(id))
  if not text then return nil, '' end
  local state = string.sub(text, 1, 1)
  if state ~= 'H' then return text, state end
  local hold = {id = id, text = text}
  hold.amount, hold.output, hold.granted, hold.bucket, hold.sent, hold.output_seen, hold.input_seen = struct_unpack(HOLD_HEAD, text, 2)
  return hold, state
end

-- Where a hold stands: as the operation says that admitted it, or (the same, and cheaper) as the asker says who has it.
local function place(hold, account_id, rates, tokens, money)
  hold.account, hold.rates, hold.tokens, hold.money = account_id, rates, tokens, money
  know_places(account_id, rates, money)
end

local function place_as_admitted(hold)
  local _, op = cmsgpack.unpack_one(hold.text, HOLD_AT - 1)
  hold.bound, hold.orphan = op[10], op[11]
  place(hold, op[3], op[7], op[8], op[9])
end

-- What is left of a hold, for a while: 'S' a result, 'W' what was charged by estimate, 'F' nothing.
local function remember(id, state, memory_ms, what)
  call('SET', hold_key(id), state .. (what and pack(what) or ''), 'PX', memory_ms)
end

-- ---- A: admit ----------------------------------------------------------------------------------------------------------------
-- {'A', call, account, epoch, cards_version, lease_ms, rates {{scope, rpm, tpm, concurrency}…}, tokens, money {{scope, cap}…}, bound,
--  orphan {accepted_ms, counts, pico, record}, output_min}
-- output_min: how few output tokens would do where the bound is not covered; 0 = only the whole bound will
-- → {'stale'} caller is old · {'sync'} counters unknown here · {'cards'} prices are old · {'full'} the ledger is too far behind
-- → {'no', reason, scope, wait_ms, headers} · {'ok', headers, held nano-USD, output tokens held}
-- for money there is no wait_ms: 1 where the holds of open calls could make room, else 0
-- → {'known'} this call was admitted or given back before · {'wait', ms} live workers have yet to register (history.lua)
-- headers: {requests limit, remaining, reset_ms, tokens limit, remaining, reset_ms}, the tightest scope's; -1 = no such limit
local function tightest(headers, at, limit, remaining, reset)
  if headers[at] < 0 or remaining < headers[at + 1] then
    headers[at], headers[at + 1], headers[at + 2] = limit, max(0, remaining), reset
  end
end

local function check_rates(account, rates, tokens, headers)
  local refused = nil
  for _, rate in ipairs(rates) do
    local scope, rpm, tpm, concurrency = rate[1], rate[2], rate[3], rate[4]
    local window = (rpm > 0 or tpm > 0) and window_of(scope)
    if rpm > 0 then
      local sum = window[REQUESTS]
      tightest(headers, 1, rpm, rpm - sum, window_reset(window))
      if sum >= rpm then refused = refused or {'requests', scope, window_wait(window, REQUESTS, 1, rpm)} end
    end
    if tpm > 0 then
      local sum, needed = window[TOKENS], min(tokens, tpm)
      tightest(headers, 4, tpm, tpm - sum, window_reset(window))
      if sum + needed > tpm then refused = refused or {'tokens', scope, window_wait(window, TOKENS, needed, tpm)} end
    end
    if concurrency > 0 and (account.seen['i:' .. scope] or 0) >= concurrency then
      refused = refused or {'concurrency', scope, 1000}
    end
  end
  return refused
end

-- As much output as a room and so many grant tokens cover; nothing where that would not do.
local function covered_output(bound, room, free, output_min)
  if bound_nano(bound, bound[1], free) <= room then return bound[1] end
  local output = affordable_output(bound, room, free)
  if output_min == 0 or output < output_min then return nil end
  return output
end

-- What to hold under the caps: all of the bound in money; else what grants leave of it; else as much output as both cover.
-- → amount, output tokens, grant tokens counted on; nothing, the scope that refuses, and 1 where open holds could make room, else 0
local function cover(account, money, bound, packed, rest)
  local output = bound[1]
  local amount = bound_nano(bound, output, 0)
  local room, scope, _, later = room_of(account, money)
  if not room or amount <= room then return amount, output, 0 end
  local _, orphan, output_min = cmsgpack.unpack_limit(packed, 2, rest)
  local free = free_grants(account, orphan[1])
  output = covered_output(bound, room, free, output_min)
  if not output then return nil, scope, covered_output(bound, later, free, output_min) and 1 or 0 end
  local granted = min(free, output + bound[2])
  return bound_nano(bound, output, granted), output, granted
end

local function take_place(account, rates, tokens, headers)
  for _, rate in ipairs(rates) do
    local rpm, tpm, running = rate[2], rate[3], 'i:' .. rate[1]
    if rpm > 0 or tpm > 0 then window_add(window_of(rate[1]), 1, min(tokens, tpm)) end
    put(account, running, (account.seen[running] or 0) + 1)
  end
  for at = 1, 4, 3 do
    if headers[at] >= 0 then
      headers[at + 1] = max(0, headers[at + 1] - (at == 1 and 1 or min(tokens, headers[at])))
      headers[at + 2] = bucket_leaves_in(BUCKET)
    end
  end
end

local function outdated(account, epoch, cards, money)
  if (account.seen.ep or 0) > epoch then return 'stale' end
  if (account.seen.sy or 0) < epoch or (account.seen.er or 0) ~= era() then return 'sync' end
  cards_now = cards_now or number(call('GET', TAG .. ':cards'))
  if cards_now > cards then return 'cards' end
  stream_length = stream_length or call('XLEN', USAGE)
  if stream_length >= STREAM_MAX then return 'full' end
  for _, limit in ipairs(money) do
    local known = account.seen['$' .. limit[1]]
    if not known or known[1] < 0 then return 'sync' end
  end
  return nil
end

local function waits(money)
  for _, limit in ipairs(money) do
    if limit[2] >= 0 then
      missing_ms = missing_ms or call('PTTL', TAG .. ':missing')
      return missing_ms > 0
    end
  end
  return false
end

-- Most is decided without its last two parts, which are the longest: they are read where a cap is near.
local function admit(packed)
  local rest, _, id, account_id, epoch, cards, lease_ms, rates, tokens, money, bound = cmsgpack.unpack_limit(packed, 10, 1)
  local account, names = account_of(account_id), money_fields({'ep', 'sy', 'er', 'g', 'rv'}, money)
  for _, rate in ipairs(rates) do names[#names + 1] = 'i:' .. rate[1] end
  know(account, names)
  local old = outdated(account, epoch, cards, money)
  if old then return {old} end
  if waits(money) then return {'wait', missing_ms} end
  local headers = {-1, 0, 0, -1, 0, 0}
  local refused = check_rates(account, rates, tokens, headers)
  if refused then return {'no', refused[1], refused[2], refused[3], headers} end
  local amount, output, granted = cover(account, money, bound, packed, rest)
  if not amount then return {'no', 'money', output, granted, headers} end
  local hold = {amount = amount, output = output, granted = granted, bucket = BUCKET, sent = SENT, output_seen = 0, input_seen = NOT_TOLD}
  if not call('SET', hold_key(id), 'H' .. to_text_hold(hold) .. packed, 'NX') then return {'known'} end
  call('ZADD', TAG .. ':holds', NOW + lease_ms, id)
  hold_more(account, money, amount, granted)
  take_place(account, rates, tokens, headers)
  return {'ok', headers, amount, output}
end

-- ---- X: renew a hold, with what has come of its answer, and extend it ----------------------------------------------------------
-- {'X', call, lease_ms, sent (0 | 1), output tokens seen, input tokens seen (−1 = not told), output tokens wanted}
-- → {'ok', held nano-USD, output tokens held}, as many as are covered · {'no', scope, output tokens held} · {'gone'} it is no hold any more
local function extend(op)
  local id, lease_ms, sent, output_seen, input_seen, wanted = unpack(op, 2, 7)
  local hold, state = read_hold(id)
  if state ~= 'H' then return {'gone'} end
  local refuses = nil
  if wanted > hold.output then
    place_as_admitted(hold)
    local account, bound = account_of(hold.account), hold.bound
    local room, scope = room_of(account, hold.money)
    local free, output = free_grants(account, hold.orphan[1]), wanted
    local all = hold.amount + (room or 0)
    bound[1] = wanted
    if room and bound_nano(bound, wanted, hold.granted) > all then
      output = affordable_output(bound, all, hold.granted + free)
    else
      free = 0
    end
    if output > hold.output then
      local granted = min(hold.granted + free, output + bound[2])
      local amount = bound_nano(bound, output, granted)
      hold_more(account, hold.money, amount - hold.amount, granted - hold.granted)
      hold.amount, hold.output, hold.granted = amount, output, granted
    else
      refuses = scope
    end
  end
  hold.sent = sent
  hold.output_seen, hold.input_seen = max(hold.output_seen, output_seen), max(hold.input_seen, input_seen)
  call('SETRANGE', hold_key(id), 1, to_text_hold(hold))
  call('ZADD', TAG .. ':holds', 'XX', NOW + lease_ms, id)
  if refuses then return {'no', refuses, hold.output} end
  return {'ok', hold.amount, hold.output}
end

-- ---- giving a hold back ------------------------------------------------------------------------------------------------------
local function give_back(hold, tokens_used)
  local account = account_of(hold.account)
  for _, rate in ipairs(hold.rates) do
    local running = 'i:' .. rate[1]
    put(account, running, (account.seen[running] or 0) - 1)
    if rate[3] > 0 then window_correct(window_of(rate[1]), hold.bucket, tokens_used - min(hold.tokens, rate[3])) end
  end
  hold_more(account, hold.money, 0 - hold.amount, 0 - hold.granted)
  call('ZREM', TAG .. ':holds', hold.id)
end

-- ---- S: settle ---------------------------------------------------------------------------------------------------------------
-- {'S', call, account, rates, tokens, money, accepted_ms, counts, pico, record, memory_ms, held nano-USD}
-- → {'ok', charged_nano, taken {{grant, kind, tokens}…}, absorbed counts or nothing, id in the stream}
-- → {'sync'} the account is not known here, so that nobody could say what its grants pay
-- No scope with a cap is charged above it: the room is what the call's own hold and the rest of the cap leave. Where the counters are not
-- known here, it is what was held. What a sweep has charged for this call before is taken back, down to what it cost at least.
local function settle(packed)
  local _, _, id, account_id, rates, tokens, money, accepted_ms, counts, pico, record, memory_ms, held =
    cmsgpack.unpack_limit(packed, 12, 1)
  local hold, state = read_hold(id)
  if state == 'S' then return unpack_packed(string.sub(hold, 2)) end
  local account, credit = account_of(account_id), 0
  know_places(account_id, rates, money)
  if not account.seen.sy then return {'sync'} end
  if state == 'H' then
    place(hold, account_id, rates, tokens, money)
    give_back(hold, counts[1] + counts[2] + counts[3])
  elseif state == 'W' then
    local swept = unpack_packed(string.sub(hold, 2))
    credit = swept[1]
    return_grants(account, swept[2])
  end
  local room, _, unknown = room_of(account, money)
  if unknown then room = min(room or held, held) elseif room then room = room + credit end
  local result = charge(account_id, accepted_ms, money, counts, pico, room, record, {}, credit)
  remember(id, 'S', memory_ms, result)
  return result
end

-- ---- F: free a hold whose call was never served ------------------------------------------------------------------------------
-- {'F', call, account, rates, tokens, money, memory_ms} → {'ok'}
-- An admission whose reply was lost may arrive after this: it must not leave a hold behind, so the call's id is remembered.
local function free(op)
  local hold, state = read_hold(op[2])
  if state == 'S' or state == 'W' then return {'ok'} end
  if state == 'H' then
    place(hold, op[3], op[4], op[5], op[6])
    give_back(hold, 0)
  end
  remember(op[2], 'F', op[7])
  return {'ok'}
end

-- ---- W: sweep holds whose worker is gone -------------------------------------------------------------------------------------
-- {'W', count_max, memory_ms} → {'ok', booked, freed}; nothing while workers may still have to say that they live (history.lua)
-- A call is taken for sent unless its worker told that it still waits for a connection. One that was sent is charged its best prompt count
-- and the output that was last told, never more than its hold; what was never sent
-- costs nothing. What was charged at least is remembered: an exact settlement that comes after all replaces it.
local function book_orphan(hold, memory_ms)
  place_as_admitted(hold)
  local accepted_ms, counts, pico, record = unpack(hold.orphan)
  counts[1] = max(counts[1], hold.output_seen)
  if hold.input_seen >= 0 then counts[2] = hold.input_seen end
  local fields = {'u', pack(counts)}
  give_back(hold, counts[1] + counts[2] + counts[3])
  local room = room_of(account_of(hold.account), hold.money)
  local result = charge(hold.account, accepted_ms, hold.money, counts, pico, min(room or hold.amount, hold.amount), record, fields, 0)
  local least = max(0, floor((pico_of(counts, pico) - counts[1] - counts[2] - counts[3] - counts[4] - counts[5]) / 1000))
  remember(hold.id, 'W', memory_ms, {least, result[3]})
end
