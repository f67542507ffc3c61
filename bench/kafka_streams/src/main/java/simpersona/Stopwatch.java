package simpersona;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.Locale;
import org.apache.avro.Schema;
import org.apache.kafka.common.utils.AppInfoParser;

/** The same as bench.peers.stopwatch: starts after the warm-up; at the last event prints one JSON line and exits. */
final class Stopwatch {
    private static final double NS_PER_S = 1e9;

    private final OperatingSystemMXBean system =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private final long startAt;
    private final long endAt;
    private long events;
    private long startNs;
    private long startCpuNs;

    Stopwatch(long startAt, long endAt) {
        this.startAt = startAt;
        this.endAt = endAt;
    }

    /** Notes one event that is done. */
    void count() {
        events++;
        if (events == startAt) {
            startNs = System.nanoTime();
            startCpuNs = system.getProcessCpuTime();
        } else if (events == endAt) {
            end();
        }
    }

    private void end() {
        double seconds = (System.nanoTime() - startNs) / NS_PER_S;
        double cpuS = (system.getProcessCpuTime() - startCpuNs) / NS_PER_S;
        System.out.printf(
                Locale.ROOT,
                "{\"seconds\": %.6f, \"cpu_s\": %.6f, \"events\": %d, \"versions\": "
                        + "{\"kafka-streams\": \"%s\", \"avro (Java)\": \"%s\", \"java\": \"%s\"}}%n",
                seconds,
                cpuS,
                endAt - startAt,
                AppInfoParser.getVersion(),
                Schema.class.getPackage().getImplementationVersion(),
                Runtime.version());
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }
}
