//
// fiber/unwind.cpp
// ~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/frame_table.hpp>
#include <spindle/detail/fiber/saved_registers.hpp>
#include <spindle/detail/fiber/unwind.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

namespace spindle::detail {

namespace {

constexpr std::size_t most_frames = 256;

// DWARF's numbers on x86-64.
enum : std::uint8_t {
    rbx = 3,
    rbp = 6,
    rsp = 7,
    r12 = 12,
    return_address = 16,
    register_count = 17
};

using word = frame_word;
using reader = table_reader;
using unreadable = unreadable_table;

// --- rules -----------------------------------------------------------------------------

struct rule {
    enum kind : std::uint8_t {
        same, // the callee has not touched it
        undefined,
        saved, // at the frame's address plus `number`
        value, // is that
        in_register,
        saved_by, // at what the expression at `number` gives
        value_by,
    } is = same;
    std::int64_t number = 0;
};

struct rules {
    rule frame{rule::undefined}; // in_register: plus `plus`; or value_by
    std::int64_t plus = 0;
    std::array<rule, register_count> of{};
};

// --- a stack, and what the rules make of it ----------------------------------------------

struct registers {
    std::array<word, register_count> value{};
    std::array<bool, register_count> known{};

    word get(std::size_t r) const
    {
        if (r >= register_count || !known[r])
            throw unreadable();
        return value[r];
    }
    void set(std::size_t r, word v) noexcept
    {
        value[r] = v;
        known[r] = true;
    }
};

word read_stack(fiber_sight const& s, word at)
{
    auto const offset = at - s.stack_pointer;
    if (at < s.stack_pointer || offset % sizeof(word) != 0 ||
        offset / sizeof(word) >= s.stack.size())
        throw unreadable();
    return s.stack[offset / sizeof(word)];
}

// The part of DWARF's expressions that compilers use for frames.
word evaluate(word at, registers const& in, fiber_sight const& s, std::optional<word> first)
{
    reader size(at, at + 16);
    auto const n = size.unsigned_number();
    reader code(size.at(), size.at() + n);
    std::array<word, 16> stack;
    std::size_t depth = 0;
    auto const push = [&](word v) {
        if (depth == stack.size())
            throw unreadable();
        stack[depth++] = v;
    };
    auto const pop = [&] {
        if (depth == 0)
            throw unreadable();
        return stack[--depth];
    };
    if (first)
        push(*first);
    while (!code.empty()) {
        auto const op = code.get<std::uint8_t>();
        if (op >= 0x30 && op <= 0x4f) { // lit0 to lit31
            push(op - 0x30u);
        } else if (op >= 0x70 && op <= 0x8f) { // breg0 to breg31
            push(in.get(op - 0x70u) + static_cast<word>(code.signed_number()));
        } else {
            switch (op) {
            case 0x06:
                push(read_stack(s, pop()));
                break; // deref
            case 0x08:
                push(code.get<std::uint8_t>());
                break; // const1u
            case 0x09:
                push(static_cast<word>(code.get<std::int8_t>()));
                break; // const1s
            case 0x0a:
                push(code.get<std::uint16_t>());
                break;
            case 0x0b:
                push(static_cast<word>(code.get<std::int16_t>()));
                break;
            case 0x0c:
                push(code.get<std::uint32_t>());
                break;
            case 0x0d:
                push(static_cast<word>(code.get<std::int32_t>()));
                break;
            case 0x10:
                push(code.unsigned_number());
                break; // constu
            case 0x11:
                push(static_cast<word>(code.signed_number()));
                break; // consts
            case 0x12: {
                auto const v = pop();
                push(v);
                push(v);
                break;
            } // dup
            case 0x1a: {
                auto const b = pop();
                push(pop() & b);
                break;
            } // and
            case 0x1c: {
                auto const b = pop();
                push(pop() - b);
                break;
            } // minus
            case 0x22: {
                auto const b = pop();
                push(pop() + b);
                break;
            } // plus
            case 0x23:
                push(pop() + code.unsigned_number());
                break; // plus_uconst
            default:
                throw unreadable();
            }
        }
    }
    return pop();
}

// Runs a program of the table up to that place in the code.
void interpret(reader code, function_entry const& f, word pc, rules& now, rules const& initial)
{
    auto place = f.begin;
    std::array<rules, 8> remembered;
    std::size_t depth = 0;
    rule ignored; // a vector register's: nobody asks for it
    auto const of = [&](word r) -> rule& { return r < register_count ? now.of[r] : ignored; };
    auto const scaled = [&](std::int64_t n) { return n * f.data_factor; };
    while (!code.empty()) {
        auto const op = code.get<std::uint8_t>();
        auto const low = static_cast<word>(op & 0x3f);
        word advance = 0;
        switch (op & 0xc0) {
        case 0x40: // advance_loc
            advance = low;
            break;
        case 0x80: // offset
            of(low) = {rule::saved, scaled(static_cast<std::int64_t>(code.unsigned_number()))};
            break;
        case 0xc0: // restore
            of(low) = low < register_count ? initial.of[low] : rule{};
            break;
        default:
            switch (op) {
            case 0x00:
                break; // nop
            case 0x02:
                advance = code.get<std::uint8_t>();
                break;
            case 0x03:
                advance = code.get<std::uint16_t>();
                break;
            case 0x04:
                advance = code.get<std::uint32_t>();
                break;
            case 0x05: { // offset_extended
                auto const r = code.unsigned_number();
                of(r) = {rule::saved, scaled(static_cast<std::int64_t>(code.unsigned_number()))};
                break;
            }
            case 0x06: { // restore_extended
                auto const r = code.unsigned_number();
                of(r) = r < register_count ? initial.of[r] : rule{};
                break;
            }
            case 0x07:
                of(code.unsigned_number()) = {rule::undefined, 0};
                break;
            case 0x08:
                of(code.unsigned_number()) = {rule::same, 0};
                break;
            case 0x09: {
                auto const r = code.unsigned_number();
                of(r) = {rule::in_register, static_cast<std::int64_t>(code.unsigned_number())};
                break;
            }
            case 0x0a: // remember_state
                if (depth == remembered.size())
                    throw unreadable();
                remembered[depth++] = now;
                break;
            case 0x0b: // restore_state
                if (depth == 0)
                    throw unreadable();
                now = remembered[--depth];
                break;
            case 0x0c: // def_cfa
                now.frame = {rule::in_register, static_cast<std::int64_t>(code.unsigned_number())};
                now.plus = static_cast<std::int64_t>(code.unsigned_number());
                break;
            case 0x0d: // def_cfa_register
                now.frame = {rule::in_register, static_cast<std::int64_t>(code.unsigned_number())};
                break;
            case 0x0e: // def_cfa_offset
                now.plus = static_cast<std::int64_t>(code.unsigned_number());
                break;
            case 0x0f: // def_cfa_expression
                now.frame = {rule::value_by, static_cast<std::int64_t>(code.at())};
                code.skip(code.unsigned_number());
                break;
            case 0x10:
            case 0x16: { // expression, val_expression
                auto const r = code.unsigned_number();
                of(r) = {
                    op == 0x10 ? rule::saved_by : rule::value_by,
                    static_cast<std::int64_t>(code.at())};
                code.skip(code.unsigned_number());
                break;
            }
            case 0x11: { // offset_extended_sf
                auto const r = code.unsigned_number();
                of(r) = {rule::saved, scaled(code.signed_number())};
                break;
            }
            case 0x12: // def_cfa_sf
                now.frame = {rule::in_register, static_cast<std::int64_t>(code.unsigned_number())};
                now.plus = scaled(code.signed_number());
                break;
            case 0x13:
                now.plus = scaled(code.signed_number());
                break;
            case 0x14:
            case 0x15: { // val_offset, val_offset_sf
                auto const r = code.unsigned_number();
                of(r) = {
                    rule::value,
                    scaled(
                        op == 0x14 ? static_cast<std::int64_t>(code.unsigned_number())
                                   : code.signed_number())};
                break;
            }
            case 0x2e:
                (void)code.unsigned_number();
                break; // GNU_args_size
            default:
                throw unreadable();
            }
        }
        if (advance != 0) {
            place += advance * f.code_factor;
            if (place > pc)
                return;
        }
    }
}

// The caller's registers. False: there is no caller.
bool step(registers& r, function_entry const& f, word pc, fiber_sight const& s)
{
    rules initial;
    interpret({f.first, f.first_end}, f, ~word{0}, initial, rules{});
    auto now = initial;
    interpret({f.program, f.program_end}, f, pc, now, initial);

    word frame;
    if (now.frame.is == rule::in_register)
        frame = r.get(static_cast<std::size_t>(now.frame.number)) + static_cast<word>(now.plus);
    else if (now.frame.is == rule::value_by)
        frame = evaluate(static_cast<word>(now.frame.number), r, s, {});
    else
        throw unreadable();
    if (now.of[return_address].is == rule::undefined)
        return false;

    registers caller;
    for (std::size_t i = 0; i != register_count; ++i) {
        auto const& how = now.of[i];
        auto const number = static_cast<word>(how.number);
        switch (how.is) {
        case rule::same:
            // What a call may change is not known any more.
            if (r.known[i] && (i == rbx || i == rbp || (i >= r12 && i < return_address)))
                caller.set(i, r.value[i]);
            break;
        case rule::undefined:
            break;
        case rule::saved:
            caller.set(i, read_stack(s, frame + number));
            break;
        case rule::value:
            caller.set(i, frame + number);
            break;
        case rule::in_register:
            caller.set(i, r.get(number));
            break;
        case rule::saved_by:
            caller.set(i, read_stack(s, evaluate(number, r, s, frame)));
            break;
        case rule::value_by:
            caller.set(i, evaluate(number, r, s, frame));
            break;
        }
    }
    if (frame <= r.get(rsp))
        throw unreadable(); // stacks grow one way
    caller.set(rsp, frame);
    r = caller;
    return true;
}

void add_frames(
    std::vector<loaded_module> const& modules,
    fiber_sight const& s,
    saved_registers const* saved,
    std::vector<stack_frame>& frames)
{
    registers r;
    constexpr std::uint8_t kept[saved_registers::count] = {rbx, rbp, 12, 13, 14, 15};
    for (std::size_t i = 0; i != saved_registers::count; ++i)
        r.set(kept[i], s.stack[saved->at[i]]);
    r.set(return_address, s.stack[saved->return_address]);
    r.set(rsp, s.stack_pointer + (saved->return_address + 1u) * sizeof(word));
    try {
        while (frames.size() != most_frames) {
            auto const to = r.get(return_address);
            auto const m = std::find_if(
                modules.begin(), modules.end(), [&](auto const& k) { return k.has(to); });
            if (m == modules.end())
                break;
            auto const f = find_function(*m, to - 1, return_address); // in the call
            if (!f)
                break; // the bottom of the stack, which has no table
            frames.push_back({to, f->begin});
            if (!step(r, *f, to - 1, s))
                break;
        }
    } catch (unreadable const&) {
        // What was found is right.
    }
}

} // namespace

std::vector<stack_frame> unwinder::unwind(fiber_sight const& s)
{
    struct {
        fiber_sight const& s;
        saved_registers const* saved;
        std::vector<stack_frame> frames;
    } of{s, find_saved_registers(), {}};
    if (of.saved && s.stack_pointer != 0 && s.stack.size() > of.saved->return_address)
        modules_.visit(
            [](std::vector<loaded_module> const& modules, void* argument) {
                auto& o = *static_cast<decltype(of)*>(argument);
                add_frames(modules, o.s, o.saved, o.frames);
            },
            &of);
    return std::move(of.frames);
}

} // namespace spindle::detail
