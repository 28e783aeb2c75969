//
// fiber/saved_registers.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/saved_registers.hpp>

#if defined(__x86_64__) && defined(__ELF__) && defined(__GNUC__) && !defined(BOOST_USE_UCONTEXT)
#define SPINDLE_FINDS_REGISTERS
#endif

#if defined(SPINDLE_FINDS_REGISTERS)

#include <boost/context/detail/fcontext.hpp>

#include <memory>
#include <new>

// spindle_probe_registers(to, mark): mark, mark + 1, ... into the registers that a
// function keeps, then jump_fcontext(to, nullptr). Hidden, and not local: link-time
// optimisation may put this text and its callers into different objects.
asm(R"(
    .pushsection .text
    .globl  spindle_probe_registers
    .hidden spindle_probe_registers
    .type   spindle_probe_registers, @function
    .globl  spindle_probe_return
    .hidden spindle_probe_return
spindle_probe_registers:
    pushq   %rbx
    pushq   %rbp
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    subq    $8, %rsp
    movq    %rsi, %rbx
    leaq    1(%rsi), %rbp
    leaq    2(%rsi), %r12
    leaq    3(%rsi), %r13
    leaq    4(%rsi), %r14
    leaq    5(%rsi), %r15
    xorl    %esi, %esi
    call    jump_fcontext@PLT
spindle_probe_return:
    addq    $8, %rsp
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbp
    popq    %rbx
    ret
    .size   spindle_probe_registers, . - spindle_probe_registers
    .popsection
)");

extern "C" [[gnu::visibility("hidden")]] void
spindle_probe_registers(void* to, std::uintptr_t mark);
extern "C" [[gnu::visibility("hidden")]] char const spindle_probe_return[];

#endif

namespace spindle::detail {

#if defined(SPINDLE_FINDS_REGISTERS)

namespace {

constexpr std::uintptr_t mark = 0x5350'494e'444c'4500; // no address, and no number of anybody's
constexpr std::uint8_t words = 32;                     // a saved context is shorter

struct found_registers {
    saved_registers layout{};
    unsigned count = 0; // of what was found
} found;

// On the other stack.
void look_at_caller(boost::context::detail::transfer_t from)
{
    auto const* const saved = static_cast<std::uintptr_t const volatile*>(from.fctx);
    for (std::uint8_t i = 0; i != words; ++i) {
        if (auto const which = saved[i] - mark; which < saved_registers::count) {
            found.layout.at[which] = i;
            ++found.count;
        } else if (saved[i] == reinterpret_cast<std::uintptr_t>(spindle_probe_return)) {
            found.layout.return_address = i;
            ++found.count;
            break;
        }
    }
    boost::context::detail::jump_fcontext(from.fctx, nullptr);
}

saved_registers const* probe() noexcept
{
    constexpr std::size_t size = 16 * 1024;
    std::unique_ptr<std::byte[]> const stack(new (std::nothrow) std::byte[size]);
    if (!stack)
        return nullptr;
    spindle_probe_registers(
        boost::context::detail::make_fcontext(stack.get() + size, size, &look_at_caller), mark);
    return found.count == saved_registers::count + 1 ? &found.layout : nullptr;
}

} // namespace

saved_registers const* find_saved_registers() noexcept
{
    static auto const* const layout = probe();
    return layout;
}

char const* why_no_stacks() noexcept
{
    return find_saved_registers() ? nullptr
                                  : "this Boost.Context saves registers in an unknown way";
}

#else

saved_registers const* find_saved_registers() noexcept { return nullptr; }

char const* why_no_stacks() noexcept
{
#if defined(BOOST_USE_UCONTEXT)
    return "this is a build for sanitizers, with Boost.Context's ucontext";
#else
    return "they are read on x86-64 with ELF only";
#endif
}

#endif

} // namespace spindle::detail
