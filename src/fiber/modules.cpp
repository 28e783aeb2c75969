//
// fiber/modules.cpp
// ~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/modules.hpp>

#include <boost/core/demangle.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <numeric>
#include <string_view>

#if defined(__ELF__) && defined(__linux__)
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace spindle::detail {

#if defined(__ELF__) && defined(__linux__)

namespace {

int add_module(dl_phdr_info* info, std::size_t, void* argument)
{
    auto& all = *static_cast<std::vector<loaded_module>*>(argument);
    loaded_module m;
    m.bias = info->dlpi_addr;
    m.begin = ~std::uintptr_t{0};
    for (int i = 0; i != info->dlpi_phnum; ++i) {
        auto const& h = info->dlpi_phdr[i];
        auto const at = m.bias + h.p_vaddr;
        if (h.p_type == PT_LOAD) {
            m.begin = std::min(m.begin, static_cast<std::uintptr_t>(at));
            m.end = std::max(m.end, static_cast<std::uintptr_t>(at + h.p_memsz));
        } else if (h.p_type == PT_GNU_EH_FRAME) {
            m.frame_table = at;
        }
    }
    if (m.end == 0)
        return 0;
    m.path = info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
    m.name = m.path;
    if (m.path == "/proc/self/exe") {
        char target[4096];
        auto const n = ::readlink(m.path.c_str(), target, sizeof target);
        if (all.empty() && n > 0)
            m.name.assign(target, static_cast<std::size_t>(n));
        else
            m.name = "[vdso]"; // the other one that has no name
    }
    if (auto const slash = m.name.rfind('/'); slash != std::string::npos)
        m.name.erase(0, slash + 1);
    all.push_back(std::move(m));
    return 0;
}

// A file, mapped.
class mapped_file {
public:
    explicit mapped_file(char const* path) noexcept
    {
        auto const fd = ::open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return;
        struct stat s;
        if (::fstat(fd, &s) == 0 && s.st_size > 0) {
            size_ = static_cast<std::size_t>(s.st_size);
            auto* const p = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
            data_ = p == MAP_FAILED ? nullptr : static_cast<char const*>(p);
        }
        ::close(fd);
    }
    mapped_file(mapped_file const&) = delete;
    mapped_file& operator=(mapped_file const&) = delete;
    ~mapped_file()
    {
        if (data_)
            ::munmap(const_cast<char*>(data_), size_);
    }

    // n objects of that type there; empty if the file does not have them.
    template <class T>
    std::span<T const> at(std::size_t offset, std::size_t n) const noexcept
    {
        if (!data_ || offset > size_ || n > (size_ - offset) / sizeof(T) ||
            offset % alignof(T) != 0)
            return {};
        return {reinterpret_cast<T const*>(data_ + offset), n};
    }

    std::string_view text(std::size_t offset) const noexcept
    {
        if (!data_ || offset >= size_)
            return {};
        return {data_ + offset, ::strnlen(data_ + offset, size_ - offset)};
    }

private:
    char const* data_ = nullptr;
    std::size_t size_ = 0;
};

using header = ElfW(Ehdr);
using section = ElfW(Shdr);
using symbol = ElfW(Sym);

bool is_function(symbol const& s) noexcept
{
    auto const type = s.st_info & 0xf;
    return (type == STT_FUNC || type == STT_GNU_IFUNC) && s.st_shndx != SHN_UNDEF;
}

// `order`: of the addresses that lie in the module, sorted.
void name_by_file(
    loaded_module const& m,
    std::span<std::uintptr_t const> addresses,
    std::span<std::size_t const> order,
    std::vector<code_name>& names)
{
    mapped_file const file(m.path.c_str());
    auto const heads = file.at<header>(0, 1);
    if (heads.empty() || std::memcmp(heads[0].e_ident, ELFMAG, SELFMAG) != 0)
        return;
    auto const sections = file.at<section>(heads[0].e_shoff, heads[0].e_shnum);
    for (auto const wanted : {SHT_SYMTAB, SHT_DYNSYM}) {
        auto found = false;
        for (auto const& table : sections) {
            if (table.sh_type != static_cast<unsigned>(wanted) || table.sh_link >= sections.size())
                continue;
            found = true;
            auto const names_at = sections[table.sh_link].sh_offset;
            for (auto const& s : file.at<symbol>(table.sh_offset, table.sh_size / sizeof(symbol))) {
                if (!is_function(s))
                    continue;
                auto const begin = m.bias + s.st_value;
                auto const size = std::max<std::size_t>(s.st_size, 1);
                auto i = std::partition_point(order.begin(), order.end(), [&](std::size_t k) {
                    return addresses[k] - 1 < begin;
                });
                for (; i != order.end() && addresses[*i] - 1 - begin < size; ++i)
                    if (auto& n = names[*i]; n.function.empty()) {
                        n.function = boost::core::demangle(
                            std::string(file.text(names_at + s.st_name)).c_str());
                        n.offset = addresses[*i] - begin;
                    }
            }
        }
        if (found)
            return;
    }
}

} // namespace

std::vector<loaded_module> loaded_modules()
{
    std::vector<loaded_module> all;
    ::dl_iterate_phdr(&add_module, &all);
    return all;
}

void present_modules::visit(function f, void* argument)
{
    struct call {
        present_modules& self;
        function f;
        void* argument;
        std::exception_ptr thrown;
    } c{*this, f, argument, {}};
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* p) {
            auto& [self, reads, its_argument, thrown] = *static_cast<call*>(p);
            try { // C's frames are no place for an exception
                if (self.all_.empty() || self.came_ != info->dlpi_adds ||
                    self.went_ != info->dlpi_subs) {
                    self.all_ = loaded_modules(); // the lock is a recursive one
                    self.came_ = info->dlpi_adds;
                    self.went_ = info->dlpi_subs;
                }
                reads(self.all_, its_argument);
            } catch (...) {
                thrown = std::current_exception();
            }
            return 1; // once is enough
        },
        &c);
    if (c.thrown)
        std::rethrow_exception(c.thrown);
}

std::vector<code_name>
names_of_code(std::vector<loaded_module> const& modules, std::span<std::uintptr_t const> addresses)
{
    std::vector<code_name> names(addresses.size());
    std::vector<std::size_t> all(addresses.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    std::sort(all.begin(), all.end(), [&](std::size_t a, std::size_t b) {
        return addresses[a] < addresses[b];
    });
    for (auto const& m : modules) {
        auto const first = std::partition_point(
            all.begin(), all.end(), [&](std::size_t k) { return addresses[k] < m.begin; });
        auto const last = std::partition_point(
            first, all.end(), [&](std::size_t k) { return addresses[k] < m.end; });
        if (first == last)
            continue;
        for (auto i = first; i != last; ++i) {
            names[*i].module = m.name;
            names[*i].offset = addresses[*i] - m.bias;
        }
        name_by_file(m, addresses, {first, last}, names);
    }
    return names;
}

#else

std::vector<loaded_module> loaded_modules() { return {}; }

void present_modules::visit(function f, void* argument) { f(all_, argument); }

std::vector<code_name>
names_of_code(std::vector<loaded_module> const&, std::span<std::uintptr_t const> addresses)
{
    return std::vector<code_name>(addresses.size());
}

#endif

std::string to_string(code_name const& n, std::uintptr_t address)
{
    char number[32];
    if (n.module.empty()) {
        std::snprintf(number, sizeof number, "%#zx", static_cast<std::size_t>(address));
        return number;
    }
    std::snprintf(number, sizeof number, " + %#zx", n.offset);
    if (n.function.empty())
        return n.module + number;
    return n.function + number + " (" + n.module + ")";
}

} // namespace spindle::detail
