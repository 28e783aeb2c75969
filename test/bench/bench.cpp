//
// test/bench/bench.cpp
// ~~~~~~~~~~~~~~~~~~~~
// The command line and the output that all C++ contenders share.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include "bench.hpp"

#include <boost/program_options.hpp>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <malloc.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace bench {

namespace {

struct definition {
    std::size_t count;
    char const* unit;
};

// The sizes and units; peers/go/main.go has the same table.
std::map<std::string, definition> const definitions{
    {"spawn", {1'000'000, "ns/fiber"}},
    {"yield", {1'000'000, "ns/switch"}},
    {"switch", {5'000'000, "ns/switch"}},
    {"pingpong", {1'000'000, "ns/round-trip"}},
    {"buffered", {5'000'000, "ns/item"}},
    {"buffered44", {5'000'000, "ns/item"}},
    {"select", {1'000'000, "ns/item"}},
    {"mutex", {10'000'000, "ns/lock"}},
    {"mutex_yield", {1'000'000, "ns/lock"}},
    {"shared_mutex", {10'000'000, "ns/lock"}},
    {"skynet", {1'000'000, "ms"}},
    {"divide", {16'384, "ms"}},
    {"parked", {100'000, "us/fiber"}},
    {"timers", {100'000, "ms"}},
    {"semaphore", {1'000'000, "ns/acquire"}},
    {"wait_group", {10'000'000, "ns/done"}},
    {"completion", {1'000'000, "ns/message"}},
    {"echo", {0, "requests/s"}},
    {"echo_stream", {0, "requests/s"}},
    {"echo_shared", {0, "requests/s"}},
    {"http", {0, "requests/s"}},
    {"http_token", {0, "requests/s"}},
    {"http_shared", {0, "requests/s"}},
    {"hog", {500, "us"}},
    {"hog_echo", {0, "requests/s"}},
    {"blocking", {1000, "ms"}},
    {"blocking_cost", {1'000'000, "ns/call"}},
    {"blocked_echo", {0, "requests/s"}},
};

options parse(int argc, char** argv)
{
    namespace po = boost::program_options;
    options o;
    po::options_description known("Options");
    auto add = known.add_options();
    add("workload", po::value(&o.workload)->required(), "what to measure");
    add("threads", po::value(&o.threads)->default_value(1), "threads that run fibers");
    add("count", po::value(&o.count), "size of the workload");
    add("seconds", po::value(&o.seconds)->default_value(0), "a server: end after so long");
    add("port", po::value(&o.port)->default_value(0), "a server: listen here, 0 for any");
    add("watch", po::value(&o.watch), "Spindle's: spawners, latency or trace, while it runs");
    add("json", po::bool_switch(&o.json), "print an object and not a line");

    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, known), values);
    po::notify(values);

    if (o.threads == 0)
        throw po::error("--threads must be at least 1");
    auto const definition = definitions.find(o.workload);
    if (definition == definitions.end())
        throw unsupported("there is no workload '" + o.workload + "'");
    if (values.count("count") == 0)
        o.count = definition->second.count;
    else if (o.count == 0)
        throw po::error("--count must be at least 1");
    return o;
}

void print(options const& o, std::string const& peer, result const& r)
{
    char const* const unit = definitions.at(o.workload).unit;
    if (o.json) {
        std::printf(
            R"({"peer": "%s", "workload": "%s", "threads": %u, "count": %zu, )"
            R"("value": %.3f, "unit": "%s")",
            peer.c_str(),
            o.workload.c_str(),
            o.threads,
            o.count,
            r.value,
            unit);
        for (auto const& [name, value] : r.extra)
            std::printf(R"(, "%s": %.3f)", name.c_str(), value);
        std::puts("}");
    } else {
        std::printf(
            "workload=%s threads=%u value=%.3f unit=%s",
            o.workload.c_str(),
            o.threads,
            r.value,
            unit);
        for (auto const& [name, value] : r.extra)
            std::printf(" %s=%.3f", name.c_str(), value);
        std::puts("");
    }
}

} // namespace

int run(int argc, char** argv, std::string const& peer, workloads const& mine)
{
    // A wave of stacks that ends must not go back to the system: with the
    // default most of the time of `spawn` is page faults.
    ::mallopt(M_TRIM_THRESHOLD, -1);
    try {
        auto const o = parse(argc, argv);
        auto const workload = mine.find(o.workload);
        if (workload == mine.end())
            throw unsupported(peer + " has no workload '" + o.workload + "'");
        if (!o.watch.empty() && peer != "spindle")
            throw unsupported(peer + " cannot be watched");
        print(o, peer, workload->second(o));
        return 0;
    } catch (unsupported const& e) {
        std::cerr << e.what() << '\n';
        return 2;
    } catch (std::exception const& e) {
        std::cerr << peer << ": " << e.what() << '\n';
        return 1;
    }
}

std::chrono::microseconds nap(std::size_t i)
{
    auto const hash = static_cast<std::uint32_t>(i) * 2654435761u;
    return std::chrono::microseconds(10'000 + hash % 10'001);
}

void sleep_in_kernel(std::chrono::nanoseconds how_long)
{
    timespec left{how_long / std::chrono::seconds(1), (how_long % std::chrono::seconds(1)).count()};
    while (nanosleep(&left, &left) != 0)
        ;
}

void system_call() { ::syscall(SYS_getppid); }

void ready(options const& o, std::uint16_t port)
{
    std::cout << "ready " << port << std::endl;
    ::alarm(static_cast<unsigned>(std::ceil(o.seconds)));
}

void require_one_thread(options const& o)
{
    if (o.threads != 1)
        throw unsupported("'" + o.workload + "' is measured with one thread");
}

memory memory::now()
{
    memory m{};
    std::ifstream status("/proc/self/status");
    for (std::string field; status >> field;) {
        double kibibytes = 0;
        if (field == "VmPTE:" && status >> kibibytes)
            m.page_tables = kibibytes * 1024;
        else if (field == "VmHWM:" && status >> kibibytes)
            m.peak = kibibytes * 1024;
        status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    }
    std::ifstream statm("/proc/self/statm");
    double total = 0;
    double resident = 0;
    statm >> total >> resident;
    m.resident = resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
    return m;
}

result parked_result(options const& o, double us, memory const& before, memory const& while_parked)
{
    auto const n = static_cast<double>(o.count);
    return {
        us / n,
        {{"bytes", (while_parked.resident - before.resident) / n},
         {"page_table_bytes", (while_parked.page_tables - before.page_tables) / n}}};
}

} // namespace bench
