package simpersona;

import java.io.File;
import java.io.IOException;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.SessionWindows;

/**
 * Counts the clicks of each client's session window in event time, as the Kafka Streams documentation has it: a RocksDB
 * store with its changelog and the default cache, one stream thread. The result goes nowhere.
 *
 * <p>Arguments: those of bench.peers.task ({@code --name value}), and {@code --schema} with the click's Avro schema file.
 */
public final class SessionCount {
    private SessionCount() {}

    /** Runs until the stopwatch ends the process. */
    public static void main(String[] arguments) throws IOException {
        Map<String, String> task = new HashMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            task.put(arguments[i].substring("--".length()), arguments[i + 1]);
        }
        Schema schema = new Schema.Parser().parse(new File(task.get("schema")));
        KafkaStreams streams = new KafkaStreams(topology(task, schema), properties(task));
        streams.setUncaughtExceptionHandler(
                error -> {
                    System.err.println("Kafka Streams failed: " + error);
                    Runtime.getRuntime().halt(1);
                    return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
                });
        streams.start();
    }

    private static Topology topology(Map<String, String> task, Schema schema) {
        Stopwatch stopwatch = new Stopwatch(number(task, "warm-up"), number(task, "events"));
        Duration gap = Duration.ofMillis(number(task, "gap-ms"));
        Duration lateness = Duration.ofMillis(number(task, "lateness-ms"));
        Serde<GenericRecord> clicks = Serdes.serdeFrom((topic, click) -> null, new ClickDeserializer(schema));
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(
                        task.get("topic"),
                        Consumed.with(Serdes.String(), clicks).withTimestampExtractor(SessionCount::occurredMs))
                .filter((client, click) -> click != null)
                // One thread takes a record all the way before the next: at the next peek, this one is stored.
                .peek((client, click) -> stopwatch.count())
                .groupByKey()
                .windowedBy(SessionWindows.ofInactivityGapAndGrace(gap, lateness))
                .count(Materialized.as("sessions"));
        return builder.build();
    }

    private static Properties properties(Map<String, String> task) {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, "kafka-streams-session");
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, task.get("kafka"));
        properties.put(StreamsConfig.STATE_DIR_CONFIG, task.get("folder"));
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, number(task, "commit-ms"));
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        return properties;
    }

    private static long occurredMs(ConsumerRecord<Object, Object> record, long partitionMs) {
        return record.value() instanceof GenericRecord click ? (Long) click.get("occurred_at") : Math.max(0, partitionMs);
    }

    private static int number(Map<String, String> task, String name) {
        return Integer.parseInt(task.get(name));
    }
}
