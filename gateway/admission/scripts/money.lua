-- ---- money: what a call may cost, what there is room for, what it is charged ---------------------------------------------------
-- Counts and prices of a call stand in one order: output, input, cached input, standard pages, enhanced pages. Grants pay for the
-- first three, in this order. Prices are rounded up to whole pico-USD and costs to whole nano-USD, so that what is counted here is
-- never below the exact cost in the ledger; a call's pico-USD stay below 2^53 up to 9,000 USD.
local KINDS, GRANT_KINDS = 5, 3
local KEPT_FIRST = {2, 3, 1, 4, 5}  -- what a cap leaves of a call: its prompt before its output

local function pico_of(counts, pico)
  local total = 0
  for kind = 1, KINDS do total = total + counts[kind] * pico[kind] end
  return total
end

-- The dearest that a call can become, of which grants pay for `granted` tokens: output first, then the prompt.
-- bound: {output tokens, prompt tokens, pico-USD an output token, a prompt token, for all pages}
local function bound_nano(bound, output, granted)
  local prompt = max(0, bound[2] - max(0, granted - output))
  return ceil((max(0, output - granted) * bound[3] + prompt * bound[4] + bound[5]) / 1000)
end

-- How many output tokens, beside the whole prompt, a room and so many grant tokens cover; below 0 where not even the prompt is covered.
local function affordable_output(bound, room, granted)
  local budget, prompt_pico = room * 1000 - bound[5], bound[2] * bound[4]
  if budget < 0 then return -1 end
  local output = bound[1]
  if prompt_pico <= budget then
    if bound[3] > 0 then output = granted + floor((budget - prompt_pico) / bound[3]) end
  else
    output = granted - bound[2] + floor(budget / bound[4])
  end
  return min(output, bound[1])
end

-- The room under the tightest cap, and whose cap it is; nothing where there is no cap, `unknown` where a counter is not known here;
-- last, the room that there would be if every open hold came back.
local function room_of(account, money)
  local room, scope, unknown, later
  for _, limit in ipairs(money) do
    if limit[2] >= 0 then
      local known = account.seen['$' .. limit[1]]
      if not known or known[1] < 0 then
        unknown = true
      else
        local left = max(0, limit[2] - known[1] - known[3] - known[4])
        if not room or left < room then room, scope = left, limit[1] end
        left = max(0, limit[2] - known[1] - known[3])
        if not later or left < later then later = left end
      end
    end
  end
  return room, scope, unknown, later
end

local function free_grants(account, accepted_ms)
  local left = 0
  for _, grant in ipairs(account.seen.g or {}) do
    if grant[2] <= accepted_ms and accepted_ms < grant[3] then left = left + grant[4] end
  end
  return max(0, left - (account.seen.rv or 0))
end

-- Move what is held in every scope, and the grant tokens that are counted on.
local function hold_more(account, money, amount, granted)
  if amount ~= 0 then
    for _, limit in ipairs(money) do
      local moved = money_of(account, limit[1])
      moved[4] = moved[4] + amount
    end
  end
  if granted ~= 0 then put(account, 'rv', (account.seen.rv or 0) + granted) end
end

-- Takes what grants pay for out of `counts`; never a token that another call's hold counts on.
-- → {{grant, kind, tokens}…}; kinds: 1 output, 2 input, 3 cached input
local function take_grants(account, accepted_ms, counts)
  local grants, taken = account.seen.g, {}
  if not grants then return taken end
  local free = free_grants(account, accepted_ms)
  for kind = 1, GRANT_KINDS do
    for _, grant in ipairs(grants) do
      local part = min(counts[kind], grant[4], free)
      if part > 0 and grant[2] <= accepted_ms and accepted_ms < grant[3] then
        grant[4], counts[kind], free = grant[4] - part, counts[kind] - part, free - part
        taken[#taken + 1] = {grant[1], kind, part}
      end
    end
  end
  if #taken > 0 then account.written.g = true end
  return taken
end

local function return_grants(account, taken)
  for _, part in ipairs(taken) do
    for _, grant in ipairs(account.seen.g or {}) do
      if grant[1] == part[1] then
        grant[4], account.written.g = grant[4] + part[3], true
      end
    end
  end
end

-- Takes out of `counts` what `room` does not pay for; → that part, which is ours.
local function absorb(counts, pico, room)
  local budget, absorbed = room * 1000, {0, 0, 0, 0, 0}
  for _, kind in ipairs(KEPT_FIRST) do
    local kept = counts[kind]
    if pico[kind] > 0 then kept = min(kept, floor(budget / pico[kind])) end
    budget = budget - kept * pico[kind]
    absorbed[kind], counts[kind] = counts[kind] - kept, kept
  end
  return absorbed
end

-- Take exactly what was taken before, as far as it is there.
local function spend_grants(account, taken)
  for _, part in ipairs(taken) do
    for _, grant in ipairs(account.seen.g or {}) do
      if grant[1] == part[1] then
        grant[4], account.written.g = max(0, grant[4] - part[3]), true
      end
    end
  end
end

local function absorbed_field(absorbed)
  return #absorbed > 0 and {'b', pack(absorbed)} or {}
end

-- Append a settled call to the usage stream, and count it as settled in every scope; → its id in the stream
local function append_record(account_id, money, moved, record, taken, fields)
  local account, scopes = account_of(account_id), {}
  for at, limit in ipairs(money) do
    local counter = money_of(account, limit[1])
    counter[3] = counter[3] + moved
    scopes[at] = limit[1]
  end
  return call('XADD', USAGE, '*', 'r', record, 'a', account_id, 'n', format('%.0f', moved), 'm', pack(scopes), 'g',
    pack(taken), unpack(fields))
end

-- Charge counts, at most as much as `room` (nil = no cap), and append the record. `fields` go onto it; `credit` was charged before.
-- → {'ok', charged_nano, taken, absorbed counts or nothing, id in the stream}
local function charge(account_id, accepted_ms, money, counts, pico, room, record, fields, credit)
  local account = account_of(account_id)
  local taken = take_grants(account, accepted_ms, counts)
  local nano, absorbed = ceil(pico_of(counts, pico) / 1000), {}
  if room and nano > room then
    absorbed = absorb(counts, pico, room)
    nano = ceil(pico_of(counts, pico) / 1000)
    for _, part in ipairs(absorbed_field(absorbed)) do fields[#fields + 1] = part end
  end
  return {'ok', nano, taken, absorbed, append_record(account_id, money, nano - credit, record, taken, fields)}
end
